"""Take out of the training documents what the held-out ones (and given evaluation sets) contain, and tell how
much it was.

Overlap is measured in 8-grams of lower-case alphanumeric words, as in section 4 of the GPT-2 paper: the share
of a set's 8-grams (each as often as it occurs) that the training documents contain too. Where the paper puts
the corpus into a Bloom filter, the evaluation sets go into an exact set here and the corpus streams past
once, so nothing grows with the corpus and there are no false positives; the paper's filter is made on
request (`bloom`).

The rules: a training document goes if at least the share `document_overlap` of its 8-grams is held out; a
paragraph goes if at least `paragraph_overlap` of its own are, and then a document with fewer than
`min_words_left` words left.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import field_validator

from pipeline.config import Schema, identity
from pipeline.data.contamination import bloom
from pipeline.data.contamination.bloom import BloomConfig
from pipeline.data.contamination.heldout import MOST_SETS, EvaluationSet, HeldOut, texts_of, write_index
from pipeline.data.contamination.overlap import SeekInTraining, add_bloom, overlap_table, told
from pipeline.data.counts import PhaseCounts
from pipeline.data.documents import (
    ReadDocuments,
    TaskOutput,
    Text,
    WriteDocuments,
    document_files,
    merged_counts,
    read_documents,
)
from pipeline.data.duplicates.describe import paragraphs_of
from pipeline.data.inputs import all_matching, matching
from pipeline.data.phase import PhaseRun
from pipeline.data.words import split_words
from pipeline.formats.publish import publishing

SPLITS = ("validation", "test")
PARTS = ("test", "train")  # of an evaluation set
_REMOVED_FOR = "removed_for "

log = logging.getLogger("loglinear.data")


class DecontaminateConfig(Schema):
    """What is held out, and what overlap with it costs."""

    ngram: int = identity(8, ge=1, description="words (GPT-2 paper: 8)")
    document_overlap: float | None = identity(
        None, gt=0, le=1, description="share of a document's n-grams, at least, that drops it; null: never"
    )
    paragraph_overlap: float | None = identity(
        0.5,
        gt=0,
        le=1,
        description="share of a paragraph's n-grams, at least, that takes it out; null: never",
    )
    min_words_left: int = identity(50, ge=0, description="a document with fewer words left is dropped")
    against: dict[str, EvaluationSet] = identity(
        {}, description="further evaluation sets: name -> path, or {test: paths, train: paths}"
    )
    bloom: BloomConfig | None = identity(
        None, description="the paper's Bloom filter of the training documents"
    )

    @field_validator("against")
    @classmethod
    def _names(cls, against: dict[str, EvaluationSet]) -> dict[str, EvaluationSet]:
        for name in against:
            if name in SPLITS or not re.fullmatch(r"[\w.-]+", name):
                raise ValueError(
                    f"{name!r}: choose a name of letters and digits that no split of the dataset has"
                )
        if len(against) > MOST_SETS - len(SPLITS):
            raise ValueError(f"{len(against)} sets, but at most {MOST_SETS - len(SPLITS)} are possible")
        return against


def inputs(config: DecontaminateConfig) -> list[Path]:
    """Return the files outside the dataset that decide the result; ConfigError names all that are missing."""
    return all_matching(
        {_place(name, part): getattr(each, part) for name, each in config.against.items() for part in PARTS}
    )


def run(config: DecontaminateConfig, phase: PhaseRun) -> PhaseCounts:
    """Pass the training documents by the held-out n-grams; held-out documents go on unchanged."""
    inputs(config)  # faults before work
    files = document_files(phase.source)
    index, own = phase.work / "held-out", phase.work / "own-training"
    if not index.exists():
        write_index(evaluation_sets(config, phase.source), config.ngram, index)
    output = TaskOutput(phase.kept, phase.dropped, phase.counts)
    rule = Decontaminate(config, index, phase.work / "hits", output)
    phase.run_tasks([ReadDocuments(files, output), rule, WriteDocuments(output)], len(files))
    training = [(name, path) for name in config.against for path in _files(config, name, "train")]
    phase.run_tasks([SeekInTraining(training, index, config.ngram, own)], len(training), "own-training")
    counts = merged_counts(phase.counts, len(files))
    held_out = HeldOut.read(index, config.ngram)
    table = overlap_table(held_out, index, phase.work / "hits", own)
    extra: dict[str, Any] = {**_grouped(counts.extra), "overlap": table}
    if config.bloom:
        built = bloom.run(config.bloom, config.ngram, extra.get("training_ngrams", 0), phase)
        add_bloom(table, built, held_out, index)
        extra["bloom"] = built.summary()
    log.info("%s", told(table, config.ngram))
    return PhaseCounts(
        documents_in=counts.documents_in,
        documents_out=counts.documents_out,
        dropped=counts.dropped,
        extra=extra,
    )


def _grouped(sums: Mapping[str, int]) -> dict[str, Any]:
    """Return the tasks' sums with those of each evaluation set in a mapping of their own."""
    of_sets = {key.removeprefix(_REMOVED_FOR): sums[key] for key in sorted(sums) if _REMOVED_FOR in key}
    return {key: sums[key] for key in sums if _REMOVED_FOR not in key} | {"removed_for": of_sets}


def _files(config: DecontaminateConfig, name: str, part: str) -> list[Path]:
    return matching(_place(name, part), getattr(config.against[name], part))


def _place(name: str, part: str) -> str:
    return f"decontaminate.against.{name}.{part}"


def evaluation_sets(config: DecontaminateConfig, source: Path) -> dict[str, Iterable[str]]:
    """Return the texts of each set that training must not contain."""
    sets: dict[str, Iterable[str]] = {
        split: (document.text for file in document_files(source / split) for document in read_documents(file))
        for split in SPLITS
        if document_files(source / split)
    }
    for name in config.against:
        sets[name] = (text for path in _files(config, name, "test") for text in texts_of(path))
    return sets


@dataclass
class Decontaminate:
    """A pipeline's middle step: apply the rules to the training documents of file number `rank`."""

    config: DecontaminateConfig
    index: Path
    hits: Path
    output: TaskOutput

    def __call__(self, data: Iterable[Any], rank: int, _world_size: int) -> Iterator[Any]:
        """Yield held-out documents as they are and training documents without what is held out."""
        held_out = HeldOut.read(self.index, self.config.ngram)
        before, after = np.zeros((2, len(held_out.grams)), dtype=bool)
        for document in data:
            if document.metadata["split"] in SPLITS:
                yield document
                continue
            paragraphs = paragraphs_of(document.text)
            found = held_out.look_up(paragraphs)
            before[found.places] = True
            if found.share >= (self.config.document_overlap or np.inf):
                self._drop(document, "overlap", held_out.names_of(found.places))
                continue
            gone = found.shares >= (self.config.paragraph_overlap or np.inf)
            if gone.any():
                if not self._mend(document, paragraphs, gone, held_out):
                    continue
                found = held_out.look_up(paragraphs_of(document.text))
            after[found.places] = True
            self.output.sums["training_ngrams"] += found.ngrams
            yield document
        self.hits.mkdir(parents=True, exist_ok=True)
        with publishing(self.hits / f"{rank:05d}.npz") as draft, draft.open("wb") as file:
            np.savez(file, before=np.flatnonzero(before), after=np.flatnonzero(after))

    def _mend(
        self, document: Any, paragraphs: list[str], gone: npt.NDArray[np.bool_], held_out: HeldOut
    ) -> bool:
        """Take the contaminated paragraphs out of a document; drop it if too little is left."""
        removed = [paragraph for paragraph, out in zip(paragraphs, gone, strict=True) if out]
        names = held_out.names_of(held_out.look_up(removed).places)
        left = "\n\n".join(paragraph for paragraph, out in zip(paragraphs, gone, strict=True) if not out)
        if len(split_words(left)) < self.config.min_words_left:
            self._drop(document, "little_left", names)
            return False
        metadata = {"url": document.metadata["url"], "dropped_because": "paragraphs", "held_out_in": names}
        self.output.note(Text("\n\n".join(removed), document.id, metadata), "paragraphs")
        self.output.sums["paragraphs_removed"] += len(removed)
        self.output.sums["documents_changed"] += 1
        self._count(names)
        document.text = left
        return True

    def _drop(self, document: Any, reason: str, names: list[str]) -> None:
        document.metadata["held_out_in"] = names
        self.output.drop(document, reason)
        self._count(names)

    def _count(self, names: list[str]) -> None:
        self.output.sums.update(Counter(_REMOVED_FOR + name for name in names))
