"""The tokenize phase, from documents on disk to checked-in shards, against tiktoken alone on texts in memory.

    python -m benchmarks.phases.tokenize [SCALE]

The texts are the sources of Python's standard library, which every machine has, taken three times.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.phases.ratio import Ratio, alternate
from model.tokenizer import gpt2
from pipeline.data import tokenize
from pipeline.data.documents import Text, line_of, writing_documents
from pipeline.data.execute import ExecuteConfig
from pipeline.data.extract import document_id
from pipeline.data.phase import PhaseRun
from pipeline.data.tokenizers.gpt2 import Config as Gpt2

TEXT_BYTES = 100_000_000  # choosing and saving the tokenizer takes a second or two, whatever the size
FILES = 4


def measure(scale: float = 1.0) -> list[Ratio]:
    """Return one core's ratio against the bare loop, and two cores' against one."""
    texts = sources(int(TEXT_BYTES * scale))
    encoding = gpt2()._encoding
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder)
        write(texts, dataset / "in")
        one, two = phase_of(dataset, workers=1), phase_of(dataset, workers=2)

        def bare() -> None:
            for text in texts:
                encoding.encode_ordinary(text)

        ours, peer = alternate(one, bare)
        together, alone = alternate(two, one)
    note = f"{megabytes / ours:.1f} MB/s, reading and writing included, against tiktoken's loop alone"
    return [
        Ratio(name="tokenize, one core", ours_seconds=ours, peer_seconds=peer, goal=0.85, note=note),
        Ratio(
            name="tokenize, two cores against one",
            ours_seconds=together,
            peer_seconds=alone,
            goal=1.7,
            note=f"{FILES} files of documents",
        ),
    ]


def sources(most_bytes: int) -> list[str]:
    """Return the standard library's files, read again from the start until there are so many bytes."""
    texts: list[str] = []
    paths = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    paths = [path for path in paths if "site-packages" not in path.parts]
    while most_bytes > 0:
        for path in paths:
            if most_bytes > 0 and (text := path.read_text(encoding="utf-8", errors="ignore")):
                texts.append(text)
                most_bytes -= len(text.encode())
    return texts


def write(texts: list[str], folder: Path) -> None:
    """Write the texts as documents, in files of equal numbers."""
    for rank in range(FILES):
        with writing_documents(folder / "train" / f"{rank:05d}.jsonl.zst") as file:
            for number in range(rank, len(texts), FILES):
                url = f"http://example.org/{number}"
                metadata = {"url": url, "canonical_url": url, "domain": "example.org", "split": "train"}
                file.write(line_of(Text(texts[number], document_id(url), metadata)))


def phase_of(dataset: Path, workers: int) -> Callable[[], None]:
    """Return the whole phase as something to be timed; it begins anew each time."""

    def run() -> None:
        work = dataset / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(dataset / "shards", ignore_errors=True)
        execute = ExecuteConfig(workers=workers)
        phase = PhaseRun(name="tokenize", dataset=dataset, source=dataset / "in", work=work, execute=execute)
        tokenize.run(Gpt2(), 100_000_000, None, phase)

    return run


if __name__ == "__main__":
    for row in measure(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0):
        print(row)
