"""Turn stored pages (WARC) into documents: one per page, or a line under `dropped/extract` saying why not."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import kind_name
from pipeline.data.counts import PhaseCounts
from pipeline.data.decoding import decode
from pipeline.data.documents import TaskOutput, WriteDocuments, merged_counts
from pipeline.data.pages import Page, karma_of, read_pages
from pipeline.data.phase import PhaseRun
from pipeline.data.sandbox import LostError, Sandbox
from pipeline.data.url import registered_domain
from pipeline.errors import StageError

# A slice of a WARC file is one task. Every slice reads the whole file (decompressing is a hundredth of the
# work) and takes each n-th record, so one big file keeps all workers busy and the split depends on its size
# alone.
SLICE_BYTES = 2 << 20

CPU_SECONDS = 20.0  # a page takes 5 ms (resiliparse) to 50 ms (trafilatura); a thousand times that is no page
MEMORY_BYTES = 4 << 30
SELF_TEST = (
    "<html><head><title>Self-test</title></head><body><article><h1>On rivers</h1>"
    "<p>Every river that reaches the sea was once a number of streams, each of which began with rain.</p>"
    "<p>The longest of them crosses eleven countries before it ends in a delta, where it feeds more than one "
    "hundred million people.</p></article></body></html>"
)
SELF_TEST_EXPECTS = "crosses eleven countries before it ends in a delta"

_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
# Control characters but tab and newline, the BOM inside text, and surrogates, which UTF-8 cannot hold.
_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufeff\ud800-\udfff]")
_LINE_ENDS = re.compile(r"[ \t]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")


def run(extractor: Any, most_lost: float, phase: PhaseRun) -> PhaseCounts:
    """Extract every page below `pages/`; StageError if more than the share `most_lost` gave no text."""
    self_test(extractor)
    slices = plan_slices(sorted((phase.dataset / "pages").glob("*.warc.gz")))
    output = TaskOutput(phase.dataset / "documents", phase.dropped, phase.counts)
    links = sorted((phase.dataset / "links").glob("*.parquet"))
    phase.run_tasks([ExtractPages(extractor, slices, links, output), WriteDocuments(output)], len(slices))
    counts = merged_counts(phase.counts, len(slices))
    lost = sum(counts.dropped.values())
    if counts.documents_in and lost / counts.documents_in > most_lost:
        reasons = ", ".join(f"{reason} {number}" for reason, number in sorted(counts.dropped.items()))
        raise StageError(
            f"extract: {lost} of {counts.documents_in} pages gave no text ({reasons}); at most a share of "
            f"{most_lost} may: look into {phase.dropped}, choose another extractor or raise max_lost_pages"
        )
    return counts


def self_test(extractor: Any) -> None:
    """Raise StageError unless the extractor finds the article in a small page: a broken install loses every
    page.
    """
    try:
        with Sandbox(extractor.extract, CPU_SECONDS, MEMORY_BYTES) as extract:
            text = extract(SELF_TEST, "http://self-test.invalid/")
    except LostError as fault:
        text = f"{fault.reason}: {fault}"
    if SELF_TEST_EXPECTS not in " ".join(text.split()):
        name = kind_name(extractor)
        raise StageError(
            f"extract: {name} fails its self-test (got {text[:200]!r}); "
            f"`pip install --force-reinstall {name} lxml_html_clean` restores it"
        )


def plan_slices(warcs: Sequence[Path]) -> list[tuple[Path, int, int]]:
    """Return (file, number, of how many) for each task; only file sizes decide."""
    slices = []
    for path in warcs:
        parts = max(1, math.ceil(path.stat().st_size / SLICE_BYTES))
        slices += [(path, part, parts) for part in range(parts)]
    return slices


def tidy(text: str) -> str:
    """Return text with plain spaces, no control characters, no spaces at line ends and single blank lines."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _NO_TEXT.sub("", _SPACES.sub(" ", text))
    return _BLANK_LINES.sub("\n\n", _LINE_ENDS.sub("", text)).strip("\n")


def document_id(canonical_url: str) -> str:
    """Return a document's name: 128 bits of its canonical URL's hash; documents sort by it."""
    return hashlib.blake2b(canonical_url.encode(), digest_size=16).hexdigest()


@dataclass
class ExtractPages:
    """The first step: the pages of slice number `rank`, as documents with their URL, karma and date."""

    extractor: Any
    slices: Sequence[tuple[Path, int, int]]
    links: Sequence[Path]
    output: TaskOutput

    def __call__(self, _data: Any, rank: int, _world_size: int) -> Iterator[Any]:
        """Yield one document per page that has text."""
        path, part, parts = self.slices[rank]
        pages = list(read_pages(path, part, parts))
        karma = karma_of(self.links, [page.canonical_url for page in pages])
        with Sandbox(self.extractor.extract, CPU_SECONDS, MEMORY_BYTES) as extract:
            for page in pages:
                self.output.documents_in += 1
                document = _document(page, karma)
                try:
                    document.text = tidy(extract(decode(page.body, page.charset), page.url))
                except LostError as fault:
                    document.metadata["detail"] = str(fault)
                    self.output.drop(document, fault.reason)
                    continue
                if document.text:
                    yield document
                else:
                    self.output.drop(document, "empty")


def _document(page: Page, karma: dict[str, tuple[int, int]]) -> Any:
    """Return the document of a page, its text still to come."""
    from datatrove.data import Document

    highest, total = karma.get(page.canonical_url, (0, 0))
    host = page.canonical_url.partition("://")[2].partition("/")[0].rpartition("@")[2].partition(":")[0]
    metadata = {
        "url": page.url,
        "canonical_url": page.canonical_url,
        "domain": registered_domain(host),
        "karma": highest,
        "karma_sum": total,
        "fetched": page.fetched,
    }
    return Document(text="", id=document_id(page.canonical_url), metadata=metadata)
