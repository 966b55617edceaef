"""Corpora with duplicates in them, and what deduplication makes of them."""

import random
from pathlib import Path

from pipeline.data import dedup
from pipeline.data.dedup import DedupConfig, SplitsConfig
from pipeline.data.documents import Text, document_files
from pipeline.data.execute import ExecuteConfig
from pipeline.data.phase import PhaseRun
from pipeline.formats.manifest import Manifest
from tests.pipeline.data.conftest import document

WORDS = [f"word{number}" for number in range(2000)]


def edited(words: list[str], share: float, chance: random.Random) -> list[str]:
    return [chance.choice(WORDS) if chance.random() < share else word for word in words]


def corpus(chance: random.Random, originals: int = 30, copies: int = 4) -> list[Text]:
    """Return near duplicates of every degree, of mixed karma."""
    texts = []
    for _ in range(originals):
        words = chance.choices(WORDS, k=chance.randint(60, 200))
        for _ in range(copies):
            texts.append(" ".join(edited(words, chance.choice([0.0, 0.01, 0.03, 0.1, 0.3]), chance)))
    return [document(f"{number}", text, karma=number % 7) for number, text in enumerate(texts)]


def halves() -> tuple[list[Text], list[Text]]:
    """Return two corpora with duplicates of all kinds in them and between them; the first has the better."""
    pages = [f"Page {n} says {n} and {n + 1}, then {n * n} and no more." for n in range(20)]
    first = corpus(random.Random(4), originals=10)
    second = [document(f"edit{n}", f"{each.text} and more") for n, each in enumerate(first[1::6])]
    second += [document(f"new{n}", each.text) for n, each in enumerate(corpus(random.Random(6), 5))]
    first += [document(f"page{n}", text) for n, text in enumerate(pages[:10])]
    second += [
        document(f"page{n}", text) for n, text in enumerate(pages[10:15])
    ]  # other texts, known addresses
    second += [document(f"copy{n}", text) for n, text in enumerate(pages[5:10])]
    first.append(document("all", "A paragraph of the first.\n\nAnother of it."))
    second.append(document("some", "Something of its own.\n\nAnother of it."))
    for half, documents in (("first", first), ("second", second)):
        for each in documents:
            each.metadata |= {"half": half, "karma": each.metadata["karma"] + 100 * (half == "first")}
    return first, second


def build(dataset: Path, config: DedupConfig, source: Path, workers: int = 1) -> dict[str, bytes]:
    """Deduplicate what lies in `source` into a dataset; returns the files it wrote."""
    work = dataset / ".phases" / "dedup"
    execute = ExecuteConfig(workers=workers, retries=0)
    phase = PhaseRun(name="dedup", dataset=dataset, source=source, work=work, execute=execute)
    counts = dedup.run(config, SplitsConfig(), phase)
    phases = [{"name": "dedup", **counts.to_json()}]
    meaningless = {
        "tokenizer": "",
        "tokenizer_fingerprint": "",
        "vocab_size": 1,
        "dtype": "uint16",
        "eot_id": 0,
    }
    Manifest(**meaningless, splits={}, text_bytes={}, phases=phases).write(dataset)
    files = [*document_files(dataset / "kept"), *document_files(dataset / "dropped")]
    return {str(path.relative_to(dataset)): path.read_bytes() for path in files}
