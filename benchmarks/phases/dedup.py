"""Deduplication: speed against datatrove's four MinHash stages, how its cost grows, and what it finds.

    python -m benchmarks.phases.dedup [--documents N] [--texts FILE.jsonl] [--only speed,cost,quality]

Documents are generated (words by Zipf's law, one in five an edited copy), or taken from the `text` of the
JSON lines in FILE; `quality` needs such a file.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.phases.ratio import Ratio, alternate
from pipeline.data import dedup
from pipeline.data.counts import PhaseCounts
from pipeline.data.dedup import DedupConfig, ParagraphConfig, SplitsConfig
from pipeline.data.documents import Text, line_of, writing_documents
from pipeline.data.execute import ExecuteConfig
from pipeline.data.phase import PhaseRun
from pipeline.data.words import split_words

GOAL = 1.5
DOCUMENTS = 4000  # at scale 1, and at size 1 of the cost
FILES = 4
COPIES = 0.2
SIZES = (1, 4, 16)
NEAR_ONLY = DedupConfig(exact=False, paragraphs=ParagraphConfig(remove="never"))


def measure(scale: float = 1.0, texts: Sequence[str] = ()) -> list[Ratio]:
    """Return the time of the phase and of datatrove's stages: documents in, documents out, one worker."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_corpus(folder / "in", int(DOCUMENTS * scale), texts)
        counts: list[PhaseCounts] = []
        ours, peer = alternate(
            lambda: counts.append(run_ours(folder, NEAR_ONLY)), lambda: run_datatrove(folder)
        )
        kept = sum(_lines(path) for path in (folder / "peer" / "kept").iterdir())
        note = f"{counts[0].documents_in} documents, kept {counts[0].documents_out} and {kept}"
    return [Ratio(name="dedup: MinHash 14 x 8", ours_seconds=ours, peer_seconds=peer, goal=GOAL, note=note)]


def write_corpus(folder: Path, documents: int, texts: Sequence[str] = ()) -> None:
    """Write documents in a few files; one in five is a copy of an earlier one with some words changed."""
    chance = np.random.default_rng(0)
    vocabulary = np.array(["".join(chance.choice(list("abcdefghij"), 7)) for _ in range(30_000)])
    recent: list[list[str]] = []
    for number in range(FILES):
        with writing_documents(folder / f"{number:05d}.jsonl.zst") as file:
            for at in range(number, documents, FILES):
                if recent and chance.random() < COPIES:
                    words = list(recent[chance.integers(len(recent))])
                    for place in chance.integers(len(words), size=int(len(words) * chance.choice([0, 0.01]))):
                        words[place] = str(chance.choice(vocabulary))
                elif texts:
                    words = texts[at % len(texts)].split()
                else:
                    ranks = chance.zipf(1.2, int(chance.lognormal(6, 0.6)) + 20)
                    words = vocabulary[ranks % len(vocabulary)].tolist()
                recent = [*recent[-999:], words]
                file.write(line_of(_document(at, " ".join(words))))


def _document(number: int, text: str) -> Text:
    url = f"http://example.org/{number}"
    metadata = {"url": url, "canonical_url": url, "karma": 3 + number % 5}
    return Text(text, f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}{number:016x}", metadata)


def run_ours(folder: Path, config: DedupConfig) -> PhaseCounts:
    """Run the phase on `folder/in`, true Jaccard and all."""
    out = folder / "ours"
    shutil.rmtree(out, ignore_errors=True)
    execute = ExecuteConfig(workers=1)
    phase = PhaseRun(
        name="dedup", dataset=out, source=folder / "in", work=out / ".phases" / "dedup", execute=execute
    )
    return dedup.run(config, SplitsConfig(), phase)


def run_datatrove(folder: Path) -> None:
    """Run datatrove's four stages at the same parameters with our word tokenizer, in this process."""
    import xxhash
    from datatrove.pipeline.dedup import minhash
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.logging import logger

    logger.disable("datatrove")
    out = folder / "peer"
    shutil.rmtree(out, ignore_errors=True)
    config = minhash.MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)

    def each(tasks: int, *steps: Any) -> None:
        for rank in range(tasks):
            data: Any = None
            with contextlib.redirect_stderr(io.StringIO()):  # progress bars
                for step in steps:
                    data = step(data, rank, tasks)
                for _ in data or ():
                    pass

    def reader() -> Any:
        return JsonlReader(str(folder / "in"), compression="zstd")

    signature = minhash.MinhashDedupSignature(str(out / "signatures"), config, _tokenizer())
    # xxhash 4 takes no text any more, which datatrove's own function still gives it.
    signature._hash_func = lambda text: xxhash.xxh64_intdigest(text.encode())
    each(FILES, reader(), signature)
    each(
        config.num_buckets,
        minhash.MinhashDedupBuckets(str(out / "signatures"), str(out / "buckets"), config=config),
    )
    each(1, minhash.MinhashDedupCluster(str(out / "buckets"), str(out / "remove"), config))
    kept, dropped = (
        JsonlWriter(str(out / name), "${rank}.jsonl.zst", compression="zstd") for name in ("kept", "dropped")
    )
    each(FILES, reader(), minhash.MinhashDedupFilter(str(out / "remove"), dropped), kept)


def _tokenizer() -> Any:
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Words(WordTokenizer):
        """Our word tokenizer, as datatrove wants it."""

        def word_tokenize(self, text: str) -> list[str]:
            return list(split_words(text))

        def sent_tokenize(self, text: str) -> list[str]:
            raise NotImplementedError

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            raise NotImplementedError

    return Words()


def _lines(path: Path) -> int:
    from pipeline.data.documents import read_documents

    return sum(1 for _ in read_documents(path))


@dataclass(frozen=True)
class Cost:
    """What deduplicating so many documents, paragraphs and all, took."""

    documents: int
    seconds: float
    peak_bytes: int

    def __str__(self) -> str:
        each = 1e6 * self.seconds / self.documents
        peak = self.peak_bytes / 2**20
        return f"{self.documents:>9} documents {self.seconds:8.2f} s ({each:6.0f} us each)  {peak:6.0f} MiB"


def cost(documents: int, texts: Sequence[str] = ()) -> Iterator[Cost]:
    """Yield what 1, 4 and 16 times so many documents take, each in a process of its own."""
    for size in SIZES:
        with tempfile.TemporaryDirectory() as name:
            write_corpus(Path(name) / "in", documents * size, texts)
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                yield Cost(documents * size, *pool.submit(_timed, Path(name)).result())


def _timed(folder: Path) -> tuple[float, int]:
    start = time.perf_counter()
    run_ours(folder, DedupConfig())
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Print what was asked for."""
    from benchmarks.phases.dedup_quality import quality

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help="generated, at size 1")
    parser.add_argument("--texts", type=Path, help="JSON lines with a `text`")
    parser.add_argument("--only", default="speed,cost,quality")
    chosen = parser.parse_args()
    texts = [orjson.loads(line)["text"] for line in chosen.texts.open("rb")] if chosen.texts else []
    if "speed" in chosen.only:
        print(*measure(chosen.documents / DOCUMENTS, texts), sep="\n", flush=True)
    if "cost" in chosen.only:
        for each in cost(chosen.documents, texts):
            print(each, flush=True)
    if "quality" in chosen.only and texts:
        print(*quality(texts, NEAR_ONLY), sep="\n")


if __name__ == "__main__":
    main()
