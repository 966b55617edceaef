"""Leave Wikipedia out, as WebText did: evaluation sets are made from it.

A document goes, under the first reason that holds:
- `domain`: it comes from Wikipedia;
- `mirror`: it comes from a site that republishes Wikipedia (a dated list of domains);
- `mark`: it says of itself that it is a copy (phrases that MediaWiki and the licences put there);
- `text`: most of its words stand in paragraphs that are Wikipedia's. A paragraph is, if at least the share
  `paragraph_overlap` of its 8-grams stand in the given dump.

Of the 8-grams only every `one_in`-th is looked at, chosen by its hash, so the same ones on either side: those
of the English Wikipedia's five billion words become an array of some 9 GB, sorted, on disk, memory-mapped.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from pipeline.composition import compose
from pipeline.config import Schema, identity, validated
from pipeline.data.counts import PhaseCounts
from pipeline.data.documents import ReadDocuments, TaskOutput, WriteDocuments, document_files, merged_counts
from pipeline.data.duplicates.describe import paragraphs_of
from pipeline.data.inputs import all_matching, matching
from pipeline.data.linking.blocklists import Blocked, BlockList, Pattern
from pipeline.data.ngrams import Ngrams, members
from pipeline.data.phase import PhaseRun
from pipeline.data.spill import distinct, parts_of, spilling
from pipeline.data.wiki.dump import articles
from pipeline.errors import ConfigError
from pipeline.formats.hashes import Hashes, by_part
from pipeline.formats.publish import publishing

# What MediaWiki adds to a text and copies keep: [1], [a], [note 2], [citation needed], [edit].
_CITATION_MARK = re.compile(r"\[(?:[a-z]|(?:note |nb )?\d{1,3}|edit|[a-z]+ needed|update)\]", re.IGNORECASE)


class WikipediaList(Schema):
    """The content of a list of what is known to be Wikipedia."""

    dated: datetime.date = identity(description="when the list was looked over")
    sources: list[str] = identity([], description="where the names come from")
    domains: list[str] = identity([], description="Wikipedia's own host names; each covers its subdomains")
    mirrors: list[str] = identity([], description="host names of sites that republish it")
    marks: list[Pattern] = identity([], description="regular expressions that only copies contain")


class TextConfig(Schema):
    """When a paragraph, and when a document, is Wikipedia's."""

    ngram: int = identity(8, ge=1, description="words")
    min_words: int = identity(40, ge=0, description="a shorter paragraph is judged together with the next")
    one_in: int = identity(4, ge=1, description="n-grams looked at: one in so many")
    paragraph_overlap: float = identity(
        0.3, gt=0, le=1, description="share of a paragraph's n-grams, at least: copies are edited"
    )
    document_share: float = identity(0.5, ge=0, lt=1, description="share of a document's words, more than")


class WikipediaConfig(Schema):
    """How Wikipedia is known."""

    lists: list[Path] = identity(
        [Path("configs/data/blocklists/wikipedia.yaml")], description="domains, mirrors and marks"
    )
    dump: list[str] = identity(
        [], description="paths or patterns of its dump: .xml or .jsonl, packed or not; each is one task"
    )
    text: TextConfig = identity(TextConfig())


def inputs(config: WikipediaConfig) -> list[Path]:
    """Return the files outside the dataset that decide the result; ConfigError names what cannot be used."""
    files = all_matching({"wikipedia.lists": list(map(str, config.lists)), "wikipedia.dump": config.dump})
    read_lists(config.lists)
    return files


def run(config: WikipediaConfig, phase: PhaseRun) -> PhaseCounts:
    """Keep the documents that are not Wikipedia's."""
    files = document_files(phase.source)
    known = read_lists(config.lists)
    index = build_index(config, phase)
    output = TaskOutput(phase.kept, phase.dropped, phase.counts)
    rule = LeaveOut(known, index, config.text, output)
    phase.run_tasks([ReadDocuments(files, output), rule, WriteDocuments(output)], len(files))
    return merged_counts(phase.counts, len(files))


def read_lists(paths: Sequence[Path]) -> list[WikipediaList]:
    """Read list files; ConfigError names every fault of all of them."""
    problems: list[str] = []
    lists = []
    for path in paths:
        try:
            lists.append(validated(WikipediaList, compose(path)))
        except ConfigError as fault:
            problems += [f"{problem} (wikipedia.lists)" for problem in fault.problems]
    if problems:
        raise ConfigError(problems)
    return lists


def build_index(config: WikipediaConfig, phase: PhaseRun) -> Path:
    """Write the dump's n-grams, part by part of the hash space; without a dump there are none."""
    dump = matching("wikipedia.dump", config.dump)
    read, index = phase.work / "dump", phase.work / "index"
    phase.run_tasks([SpillDump(dump, config.text, read)], len(dump), "dump")
    if dump:
        parts = parts_of(read)
        phase.run_tasks([SortPart(read, parts, index)], parts, "index")
    return index


@dataclass
class SpillDump:
    """A pipeline's only step: the chosen n-grams of dump file number `rank`, as hashes on disk."""

    files: Sequence[Path]
    config: TextConfig
    folder: Path

    def __call__(self, _data: Any, rank: int, _world_size: int) -> None:
        """Write them."""
        with spilling(self.folder, rank) as spill:
            for _title, text in articles(self.files[rank]):
                hashes = Ngrams.of([text], self.config.ngram).hashes
                spill.add(hashes[chosen(hashes, self.config)])


@dataclass
class SortPart:
    """A pipeline's only step: part number `rank` of the index."""

    hashes: Path
    parts: int
    index: Path

    def __call__(self, _data: Any, rank: int, _world_size: int) -> None:
        """Write the distinct hashes, sorted."""
        with publishing(self.index / f"{rank:05d}.npy") as draft, draft.open("wb") as file:
            np.save(file, distinct(self.hashes, rank, self.parts))


def chosen(hashes: Hashes, config: TextConfig) -> npt.NDArray[np.bool_]:
    """Return which n-grams are looked at: those whose hash says so, in whatever text they stand."""
    return hashes % np.uint64(config.one_in) == 0  # type: ignore[no-any-return]


@dataclass
class LeaveOut:
    """A pipeline's middle step: drop what is Wikipedia's."""

    lists: Sequence[WikipediaList]
    index: Path
    config: TextConfig
    output: TaskOutput

    def __call__(self, data: Iterable[Any], _rank: int, _world_size: int) -> Iterator[Any]:
        """Yield the other documents."""
        known = Known(self.lists)
        text = WikipediaText.read(self.index, self.config)
        for document in data:
            reason = known.reason(document)
            if reason is None and text.parts:
                share = text.share_of(document.text)
                if share > self.config.document_share:
                    reason, document.metadata["wikipedia_share"] = "text", round(share, 3)
            if reason:
                self.output.drop(document, reason)
            else:
                yield document


class Known:
    """What the lists know."""

    def __init__(self, lists: Sequence[WikipediaList]):
        self._domains = Blocked([BlockList(domains=each.domains) for each in lists])
        self._mirrors = Blocked([BlockList(domains=each.mirrors) for each in lists])
        self._marks = [re.compile(mark) for each in lists for mark in each.marks]

    def reason(self, document: Any) -> str | None:
        """Return why a document is known to be Wikipedia's (`domain`, `mirror`, `mark`), or None."""
        host = urlsplit(document.metadata["canonical_url"]).hostname or ""
        if self._domains.covers(host):
            return "domain"
        if self._mirrors.covers(host):
            return "mirror"
        return "mark" if any(mark.search(document.text) for mark in self._marks) else None


@dataclass(frozen=True)
class WikipediaText:
    """The n-grams of the dump."""

    parts: list[Hashes]  # memory-mapped, each sorted; empty if there is no dump
    config: TextConfig

    @classmethod
    def read(cls, index: Path, config: TextConfig) -> WikipediaText:
        """Open the index of a folder."""
        return cls([np.load(path, mmap_mode="r") for path in sorted(index.glob("*.npy"))], config)

    def contains(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Return which n-grams are Wikipedia's."""
        found = np.zeros(len(hashes), dtype=bool)
        for part, places in by_part(hashes, len(self.parts)):
            if len(self.parts[part]):
                found[places], _ = members(hashes[places], self.parts[part])
        return found

    def share_of(self, text: str) -> float:
        """Return the share of a document's words that stand in Wikipedia's paragraphs."""
        paragraphs = long_paragraphs(_CITATION_MARK.sub("", text), self.config.min_words)
        ngrams = Ngrams.of(paragraphs, self.config.ngram)
        looked_at = chosen(ngrams.hashes, self.config)
        theirs = looked_at.copy()
        theirs[looked_at] = self.contains(ngrams.hashes[looked_at])
        asked, found = ngrams.in_paragraphs(looked_at), ngrams.in_paragraphs(theirs)
        is_theirs = found >= np.maximum(1, self.config.paragraph_overlap * asked)
        return float(ngrams.words[is_theirs].sum() / max(1, ngrams.words.sum()))


def long_paragraphs(text: str, min_words: int) -> list[str]:
    """Return the paragraphs of a text; one with fewer words (a heading, a list's item) goes with the next."""
    joined: list[str] = []
    words = min_words
    for paragraph in paragraphs_of(text):
        if words >= min_words:
            joined.append(paragraph)
            words = 0
        else:
            joined[-1] += f"\n\n{paragraph}"
        words += len(paragraph.split())
    return joined
