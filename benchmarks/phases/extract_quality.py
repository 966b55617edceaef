"""How much of an article each extractor finds, and how much else, on the article-extraction-benchmark.

    python -m benchmarks.phases.extract_quality article-extraction-benchmark.tar.gz

The set's own metric: a text is the bag of its runs of four words. Precision is the share of the found runs
that are the article's, recall the share of the article's that are found, each averaged over the pages; F1 is
the harmonic mean of the two averages, which is not the average of the pages' own.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from pipeline.config import Kind
from pipeline.data.extract import tidy
from pipeline.data.stored.decoding import decode

RUN_WORDS = 4
PUBLISHED_F1 = 0.958  # trafilatura 2.0.0, in the README of the set
KINDS = Kind("pipeline.data.extractors")


@dataclass(frozen=True, kw_only=True)
class Score:
    """Shares of runs of words, averaged over the pages."""

    precision: float
    recall: float
    pages: int

    @property
    def f1(self) -> float:
        """Return the harmonic mean of precision and recall."""
        return 2 * self.precision * self.recall / (self.precision + self.recall)

    def __str__(self) -> str:
        shares = f"precision {self.precision:.4f}  recall {self.recall:.4f}  F1 {self.f1:.4f}"
        return f"{shares}  ({self.pages} pages)"


def score(extractor: Any, archive: Path) -> Score:
    """Return what an extractor reaches on the pages of the archive, read as the stage reads them."""
    precisions, recalls = [], []
    for page, article in pages(archive):
        wanted, found = runs(article), runs(tidy(extractor.extract(decode(page, "utf-8"), "")))
        both = (wanted & found).total()
        if found:
            precisions.append(both / found.total())
        if wanted:
            recalls.append(both / wanted.total())
    return Score(precision=mean(precisions), recall=mean(recalls), pages=len(recalls))


def pages(archive: Path) -> Iterator[tuple[bytes, str]]:
    """Yield each page's HTML and the article on it."""
    with tarfile.open(archive) as files:
        members = {Path(member.name).name: member for member in files.getmembers() if member.isfile()}

        def content(name: str) -> bytes:
            file = files.extractfile(members[name])
            assert file is not None
            return file.read()

        for name, truth in json.loads(content("ground-truth.json")).items():
            yield gzip.decompress(content(f"{name}.html.gz")), truth["articleBody"]


def runs(text: str) -> Counter[tuple[str, ...]]:
    """Return the runs of four words of a text, the whole of a shorter one."""
    words = re.findall(r"\w+", text)
    starts = range(max(1, len(words) - RUN_WORDS + 1)) if words else ()
    return Counter(tuple(words[start : start + RUN_WORDS]) for start in starts)


def main() -> None:
    """Print a line for each kind of extractor."""
    for name in KINDS.names():
        print(f"{name:<12} {score(KINDS.config(name)(), Path(sys.argv[1]))}")


if __name__ == "__main__":
    main()
