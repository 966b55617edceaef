"""Take out of the training documents what the held-out ones (and given evaluation texts) contain.

Overlap is measured in 8-grams of lower-case alphanumeric words, as in section 4 of the GPT-2 paper; but where
the paper puts the corpus into a Bloom filter, the evaluation texts go into an exact set here and the corpus
streams past once, so nothing grows with the corpus and there are no false positives.

The rule: a training paragraph goes if at least the share `paragraph_overlap` of its 8-grams is held out; a
document goes if fewer than `min_words_left` words remain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config import Schema, identity
from pipeline.data.counts import PhaseCounts
from pipeline.data.describe import paragraphs_of
from pipeline.data.documents import (
    ReadDocuments,
    TaskOutput,
    Text,
    WriteDocuments,
    document_files,
    merged_counts,
    read_documents,
)
from pipeline.data.phase import PhaseRun
from pipeline.data.words import Hashes, ngram_hashes, normal_words, split_words, word_hashes
from pipeline.errors import ConfigError
from pipeline.formats.publish import publishing

HELD_OUT = ("validation", "test")


class DecontaminateConfig(Schema):
    """What is held out, and what overlap with it costs."""

    ngram: int = identity(8, ge=1, description="words (GPT-2 paper: 8)")
    paragraph_overlap: float | None = identity(
        0.5,
        gt=0,
        le=1,
        description="share of a paragraph's n-grams, at least; null measures and removes nothing",
    )
    min_words_left: int = identity(50, ge=0, description="a document with fewer words left is dropped")
    against: dict[str, Path] = identity(
        {}, description="further evaluation texts: name -> text or documents file"
    )


def run(config: DecontaminateConfig, phase: PhaseRun) -> PhaseCounts:
    """Pass the training documents by the held-out n-grams; held-out documents go on unchanged."""
    files = document_files(phase.source)
    index = phase.work / "held-out"
    if not index.exists():
        write_index(evaluation_sets(config, phase.source), config.ngram, index)
    output = TaskOutput(phase.kept, phase.dropped, phase.counts)
    rule = Decontaminate(config, index, phase.work / "hits", output)
    phase.run_tasks([ReadDocuments(files, output), rule, WriteDocuments(output)], len(files))
    counts = merged_counts(phase.counts, len(files))
    overlap = overlap_table(index, sorted((phase.work / "hits").glob("*.npz")))
    return PhaseCounts(
        documents_in=counts.documents_in,
        documents_out=counts.documents_out,
        dropped=counts.dropped,
        extra={**counts.extra, "overlap": overlap},
    )


def evaluation_sets(config: DecontaminateConfig, source: Path) -> dict[str, Iterable[str]]:
    """Return the texts of each set that training must not contain."""
    sets: dict[str, Iterable[str]] = {
        split: (document.text for file in document_files(source / split) for document in read_documents(file))
        for split in HELD_OUT
        if document_files(source / split)
    }
    return sets | {name: texts_of(path) for name, path in config.against.items()}


def texts_of(path: Path) -> Iterator[str]:
    """Yield the texts of an evaluation file: a documents file (`.jsonl.zst`), or plain text, a paragraph at a
    time.
    """
    if not path.is_file():
        raise ConfigError(f"decontaminate.against: {path}: no such file")
    if path.name.endswith(".jsonl.zst"):
        yield from (document.text for document in read_documents(path))
    else:
        yield from paragraphs_of(path.read_text(encoding="utf-8", errors="replace"))


def write_index(sets: Mapping[str, Iterable[str]], ngram: int, target: Path) -> None:
    """Write the distinct n-grams of each set, and of all of them together, sorted."""
    with publishing(target) as draft:
        draft.mkdir()
        grams = {}
        for name, texts in sets.items():
            found = [ngram_hashes(word_hashes(normal_words(text)), ngram) for text in texts]
            grams[name] = np.unique(np.concatenate([*found, np.empty(0, np.uint64)]))
            np.save(draft / f"set-{name}.npy", grams[name])
        np.save(draft / "all.npy", np.unique(np.concatenate([*grams.values(), np.empty(0, np.uint64)])))


def overlap_table(index: Path, hits: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Return for each set how many distinct n-grams it has and which percentage training held before and
    holds after.
    """
    everything = np.load(index / "all.npy")
    before, after = np.zeros(len(everything), dtype=bool), np.zeros(len(everything), dtype=bool)
    for path in hits:
        found = np.load(path)
        before[found["before"]] = True
        after[found["after"]] = True
    table = {}
    for path in sorted(index.glob("set-*.npy")):
        grams = np.load(path)
        places = np.searchsorted(everything, grams)
        table[path.stem.removeprefix("set-")] = {
            "ngrams": len(grams),
            "percent_before": round(100 * float(before[places].mean()), 3) if len(grams) else 0.0,
            "percent_after": round(100 * float(after[places].mean()), 3) if len(grams) else 0.0,
        }
    return table


@dataclass
class Decontaminate:
    """A pipeline's middle step: apply the rule to the training documents of file number `rank`."""

    config: DecontaminateConfig
    index: Path
    hits: Path
    output: TaskOutput

    def __call__(self, data: Iterable[Any], rank: int, _world_size: int) -> Iterator[Any]:
        """Yield held-out documents as they are and training documents without what is held out."""
        held_out = HeldOut(np.load(self.index / "all.npy"), self.config.ngram)
        before, after = np.zeros((2, len(held_out.grams)), dtype=bool)
        for document in data:
            if document.metadata["split"] in HELD_OUT:
                yield document
                continue
            paragraphs = paragraphs_of(document.text)
            found = held_out.look_up(paragraphs)
            before[found.places] = True
            gone = found.shares >= (self.config.paragraph_overlap or np.inf)
            if gone.any():
                if not self._mend(document, paragraphs, gone):
                    self.output.drop(document, "little_left")
                    continue
                found = held_out.look_up(paragraphs_of(document.text))
            after[found.places] = True
            yield document
        self.hits.mkdir(parents=True, exist_ok=True)
        with publishing(self.hits / f"{rank:05d}.npz") as draft, draft.open("wb") as file:
            np.savez(file, before=np.flatnonzero(before), after=np.flatnonzero(after))

    def _mend(self, document: Any, paragraphs: list[str], gone: npt.NDArray[np.bool_]) -> bool:
        """Take the contaminated paragraphs out of a document; return whether enough is left."""
        left = "\n\n".join(paragraph for paragraph, out in zip(paragraphs, gone, strict=True) if not out)
        if len(split_words(left)) < self.config.min_words_left:
            return False
        removed = [paragraph for paragraph, out in zip(paragraphs, gone, strict=True) if out]
        metadata = {"url": document.metadata["url"], "dropped_because": "paragraphs"}
        self.output.note(Text("\n\n".join(removed), document.id, metadata), "paragraphs")
        self.output.sums["paragraphs_removed"] += len(removed)
        self.output.sums["documents_changed"] += 1
        document.text = left
        return True


@dataclass(frozen=True)
class Found:
    """What of a document is held out."""

    places: npt.NDArray[np.int64]  # where its held-out n-grams stand among all of them
    shares: npt.NDArray[
        np.float64
    ]  # (paragraphs,) of the n-grams inside each paragraph; 0 where there are none


@dataclass(frozen=True)
class HeldOut:
    """The n-grams that training must not contain, sorted."""

    grams: Hashes
    ngram: int

    def look_up(self, paragraphs: Sequence[str]) -> Found:
        """Return what of these paragraphs, one after another, is held out."""
        words = [normal_words(paragraph) for paragraph in paragraphs]
        mine = ngram_hashes(word_hashes(word for each in words for word in each), self.ngram)
        if not len(mine) or not len(self.grams):
            return Found(np.empty(0, dtype=np.int64), np.zeros(len(paragraphs)))
        places = np.minimum(np.searchsorted(self.grams, mine), len(self.grams) - 1)
        hit = self.grams[places] == mine
        # n-grams that begin in a paragraph and end in it: those that straddle a border belong to none
        ends = np.cumsum([len(each) for each in words])
        starts = np.minimum(ends - [len(each) for each in words], len(mine))
        stops = np.clip(ends - self.ngram + 1, starts, len(mine))
        running = np.concatenate([[0], np.cumsum(hit)])
        shares = (running[stops] - running[starts]) / np.maximum(1, stops - starts)
        return Found(places[hit], shares)
