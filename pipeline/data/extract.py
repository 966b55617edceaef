"""Turn stored pages (WARC) into documents: one per page, or a line under `dropped/extract` saying why not."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.config import kind_name
from pipeline.data.counts import PhaseCounts
from pipeline.data.documents import TaskOutput, WriteDocuments, merged_counts
from pipeline.data.phase import PhaseRun
from pipeline.data.sandbox import LostError, Sandbox
from pipeline.data.stored.decoding import decode
from pipeline.data.stored.markup import excess
from pipeline.data.stored.pages import Page, Unreadable, read_pages
from pipeline.data.stored.votes import join_votes, votes_of
from pipeline.data.url import registered_domain
from pipeline.errors import StageError

log = logging.getLogger("loglinear.data")

# A slice of a WARC file is one task, so that one big file keeps all workers busy; its size alone decides how
# it is cut.
SLICE_BYTES = 8 << 20

CPU_SECONDS = 5.0  # a page takes 2 ms (resiliparse) to 30 ms (trafilatura); a hundred times that is no page
MEMORY_BYTES = 2 << 30
# Records that never were pages with text, so that none is lost with them: errors, redirects, images. Damaged
# records and pages over a limit are not among them.
NO_PAGES = ("content-type", "not-http")
SELF_TEST = (
    "<html><head><title>Self-test</title></head><body><article><h1>On rivers</h1>"
    "<p>Every river that reaches the sea was once a number of streams, each of which began with rain.</p>"
    "<p>The longest of them crosses eleven countries before it ends in a delta, where it feeds more than one "
    "hundred million people.</p></article></body></html>",
    "http://self-test.invalid/",
)
SELF_TEST_EXPECTS = "crosses eleven countries before it ends in a delta"

_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
# Control characters but tab and newline, the BOM inside text, and surrogates, which UTF-8 cannot hold.
_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufeff\ud800-\udfff]")
_LINE_ENDS = re.compile(r"(?<![ \t])[ \t]+$", re.MULTILINE)  # from where blanks begin, else quadratic
_BLANK_LINES = re.compile(r"\n{3,}")


def run(extractor: Any, most_lost: float, warcs: Sequence[Path], phase: PhaseRun) -> PhaseCounts:
    """Extract every page of these files; StageError if more than the share `most_lost` gave no text."""
    self_test(extractor)
    slices = plan_slices(warcs)
    output = TaskOutput(phase.dataset / "documents", phase.dropped, phase.counts)
    votes = phase.work / "votes.parquet" if (phase.dataset / "links").is_dir() else None
    if votes and not votes.exists():
        join_votes(phase.dataset, votes)
    phase.run_tasks([ExtractPages(extractor, slices, votes, output), WriteDocuments(output)], len(slices))
    counts = merged_counts(phase.counts, len(slices))
    return checked_for_losses(counts, most_lost, phase.dropped)


def checked_for_losses(counts: PhaseCounts, most_lost: float, dropped: Path) -> PhaseCounts:
    """Return the account with its `lost_pages`; StageError if they are more than the share `most_lost`."""
    reasons = {reason: number for reason, number in counts.dropped.items() if not is_no_page(reason)}
    lost = sum(reasons.values())
    pages = counts.documents_out + lost
    log.info("extract: %d of %d pages gave no text (at most a share of %s may)", lost, pages, most_lost)
    if pages and lost / pages > most_lost:
        told = ", ".join(f"{reason} {number}" for reason, number in sorted(reasons.items()))
        raise StageError(
            f"extract: {lost} of {pages} pages gave no text ({told}); at most a share of {most_lost} may: "
            f"look into {dropped}, choose another extractor or raise max_lost_pages"
        )
    return dataclasses.replace(counts, extra={**counts.extra, "lost_pages": lost})


def self_test(extractor: Any) -> None:
    """Raise StageError unless the extractor finds the article in a small page: a broken install loses every
    page.
    """
    try:
        with sandboxed(extractor) as extract:
            text = extract(*SELF_TEST)
    except LostError as fault:
        text = f"{fault.reason}: {fault}"
    if SELF_TEST_EXPECTS not in " ".join(text.split()):
        name = kind_name(extractor)
        raise StageError(
            f"extract: {name} fails its self-test (got {text[:200]!r}); "
            f"`pip install --force-reinstall {name} lxml_html_clean` restores it"
        )


def sandboxed(extractor: Any) -> Sandbox:
    """Return the extractor in a process of its own, with what it imports already there."""
    return Sandbox(extractor.extract, CPU_SECONDS, MEMORY_BYTES, warm_up=SELF_TEST)


def is_no_page(reason: str) -> bool:
    """Tell whether records dropped for this reason never were pages with text."""
    return reason in NO_PAGES or reason.startswith("http-")


def plan_slices(warcs: Sequence[Path]) -> list[tuple[Path, int, int]]:
    """Return (file, number, of how many) for each task; only file sizes decide."""
    slices = []
    for path in warcs:
        parts = max(1, math.ceil(path.stat().st_size / SLICE_BYTES))
        slices += [(path, part, parts) for part in range(parts)]
    return slices


def page_text(page: Page, extract: Sandbox) -> str:
    """Return the text of a page. LostError says why it has none."""
    html = decode(page.body, page.charset)
    if reason := excess(html):
        raise LostError(reason)
    return tidy(extract(html, page.url))


def tidy(text: str) -> str:
    """Return text with plain spaces, no control characters, no spaces at line ends and single blank lines."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _NO_TEXT.sub("", _SPACES.sub(" ", text))
    return _BLANK_LINES.sub("\n\n", _LINE_ENDS.sub("", text)).strip("\n")


def document_id(canonical_url: str) -> str:
    """Return a document's name: 128 bits of its canonical URL's hash; documents sort by it."""
    return hashlib.blake2b(canonical_url.encode(), digest_size=16).hexdigest()


@dataclasses.dataclass
class ExtractPages:
    """The first step: the pages of slice number `rank`, as documents with their URL, karma and date."""

    extractor: Any
    slices: Sequence[tuple[Path, int, int]]
    votes: Path | None
    output: TaskOutput

    def __call__(self, _data: Any, rank: int, _world_size: int) -> Iterator[Any]:
        """Yield one document per page that has text."""
        path, part, parts = self.slices[rank]
        karma = votes_of(self.votes, path.name) if self.votes else {}
        with sandboxed(self.extractor) as extract:
            for record in read_pages(path, part, parts):
                self.output.documents_in += 1
                if isinstance(record, Unreadable):
                    self._drop(_unread(record), record.reason, record.detail)
                    continue
                document = _document(record, karma)
                try:
                    document.text = page_text(record, extract)
                except LostError as fault:
                    self._drop(document, fault.reason, str(fault))
                    continue
                self.output.sums["undecodable_characters"] += document.text.count("\ufffd")
                if document.text:
                    yield document
                else:
                    self._drop(document, "empty", "")

    def _drop(self, document: Any, reason: str, detail: str) -> None:
        if detail:
            document.metadata["detail"] = detail
        self.output.drop(document, reason)


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
    if page.source:
        metadata["source"] = page.source
    return Document(text="", id=document_id(page.canonical_url), metadata=metadata)


def _unread(record: Unreadable) -> Any:
    """Return the document that stands for a record without a page; its number in the file is not known."""
    from datatrove.data import Document

    return Document(text="", id=document_id(record.url or record.detail), metadata={"url": record.url})
