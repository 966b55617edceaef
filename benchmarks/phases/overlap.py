"""Overlap of evaluation sets with their own training sets, beside Table 6 of the GPT-2 paper:
`python -m benchmarks.phases.overlap DATA`.

DATA is the folder of real inputs with `text/enwik8.gz` and `eval/`. Of the table's sets only enwik8 has both
parts there (its first 90 million bytes are for training, its last 5 for testing). WikiText-2 is printed
against the same training text, a piece of Wikipedia, where the paper has no figure.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from pathlib import Path

from pipeline.data import decontaminate
from pipeline.data.contamination.overlap import told
from pipeline.data.decontaminate import DecontaminateConfig
from pipeline.data.execute import ExecuteConfig
from pipeline.data.phase import PhaseRun

TRAIN_BYTES = 90_000_000
PAPER = {"enwik8": 7.50}  # "dataset train" of Table 6, percent
SETS = {
    "enwik8": "enwik8/enwik8.test",
    "wikitext2": "wikitext2/raw/wiki.test.raw",
}


def measure(data: Path, work: Path) -> dict[str, dict[str, float]]:
    """Return the table, with the beginning of enwik8 as everyone's training set."""
    train = work / "enwik8.train"
    with gzip.open(data / "text/enwik8.gz") as file:
        train.write_bytes(file.read(TRAIN_BYTES))
    against = {name: {"test": str(data / "eval" / path), "train": str(train)} for name, path in SETS.items()}
    phase = PhaseRun(
        name="decontaminate",
        dataset=work,
        source=work / "no-documents",
        work=work / "work",
        execute=ExecuteConfig(),
    )
    counts = decontaminate.run(DecontaminateConfig(against=against), phase)
    table: dict[str, dict[str, float]] = counts.extra["overlap"]
    return table


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(sys.argv[1]), Path(folder))
    print(told(found, 8))
    for name, percent in PAPER.items():
        ours = found[name]["percent_own_training"]
        print(
            f"{name}: {ours:.2f} % of its 8-grams stand in its training set; the paper says {percent:.2f} %"
        )
