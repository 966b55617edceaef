"""Texts that training must not contain: where they are, their n-grams, and what of another text is theirs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import model_validator

from pipeline.config import Schema, identity
from pipeline.data.compressed import kind_of, unpacked
from pipeline.data.ngrams import Ngrams, members
from pipeline.errors import FormatError
from pipeline.formats.hashes import Hashes, ngram_hashes, normal_words, word_hashes
from pipeline.formats.publish import publishing, read_json, write_json

MOST_SETS = 64  # one bit each
_PIECE_CHARACTERS = 1 << 20  # of a text file without blank lines; n-grams across its cuts are not counted


class EvaluationSet(Schema):
    """An evaluation set: a path, or its `test` files and the `train` files that belong to it."""

    test: list[str] = identity(min_length=1, description="paths or patterns: text, .jsonl; packed or not")
    train: list[str] = identity([], description="its own training set, to tell the overlap with")

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        if isinstance(value, str | Path | list):
            value = {"test": value}
        if not isinstance(value, dict):
            return value
        return {key: [str(one)] if isinstance(one, str | Path) else one for key, one in value.items()}


def texts_of(path: Path) -> Iterator[str]:
    """Yield the texts of a file: of `.jsonl` each row's `text` (or all its strings, if it has none), of any
    other file what blank lines separate.
    """
    with unpacked(path) as lines:
        if kind_of(path) == ".jsonl":
            yield from _texts_of_rows(path, lines)
        else:
            yield from _paragraphs(lines)


def _texts_of_rows(path: Path, lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as fault:
            raise FormatError(f"{path}:{number}: not JSON ({fault}); one value a line is expected") from None
        yield from _strings(row["text"] if isinstance(row, dict) and "text" in row else row)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _paragraphs(lines: Iterable[bytes]) -> Iterator[str]:
    piece: list[str] = []
    characters = 0
    for line in lines:
        text = line.decode("utf-8", errors="replace")
        if (text.isspace() and piece) or characters >= _PIECE_CHARACTERS:
            yield "".join(piece)
            piece, characters = [], 0
        piece.append(text)
        characters += len(text)
    yield "".join(piece)


def write_index(sets: Mapping[str, Iterable[str]], ngram: int, target: Path) -> None:
    """Write the distinct n-grams of all sets together, sorted, and which sets each is of, and how often."""
    with publishing(target) as draft:
        draft.mkdir()
        counted = {name: _counted(texts, ngram) for name, texts in sets.items()}
        grams = np.unique(np.concatenate([*(each for each, _ in counted.values()), np.empty(0, np.uint64)]))
        owners = np.zeros(len(grams), dtype=np.uint64)
        for number, (mine, counts) in enumerate(counted.values()):
            places = np.searchsorted(grams, mine)
            owners[places] |= np.uint64(1 << number)
            np.savez(draft / f"set-{number:02d}.npz", places=places, counts=counts)
        np.save(draft / "grams.npy", grams)
        np.save(draft / "owners.npy", owners)
        write_json(draft / "names.json", list(counted))


def _counted(texts: Iterable[str], ngram: int) -> tuple[Hashes, npt.NDArray[np.int64]]:
    found = [ngram_hashes(word_hashes(normal_words(text)), ngram) for text in texts]
    return np.unique(np.concatenate([*found, np.empty(0, np.uint64)]), return_counts=True)


@dataclass(frozen=True)
class Found:
    """What of a document is held out."""

    ngrams: int  # of the document
    places: npt.NDArray[np.int64]  # where its held-out n-grams stand among all of them
    shares: npt.NDArray[np.float64]  # (paragraphs,) of each paragraph's n-grams; 0 where it has none

    @property
    def share(self) -> float:
        """Return the share of the document's n-grams."""
        return len(self.places) / max(1, self.ngrams)


@dataclass(frozen=True)
class HeldOut:
    """The n-grams that training must not contain (G of them, sorted), and the sets they come from."""

    grams: Hashes
    owners: Hashes  # (G,) bit i: it is in set i
    names: list[str]
    ngram: int

    @classmethod
    def read(cls, index: Path, ngram: int) -> HeldOut:
        """Read what `write_index` wrote."""
        grams, owners = np.load(index / "grams.npy"), np.load(index / "owners.npy")
        return cls(grams, owners, read_json(index / "names.json"), ngram)

    def look_up(self, paragraphs: Sequence[str]) -> Found:
        """Return what of these paragraphs, one after another, is held out."""
        ngrams = Ngrams.of(paragraphs, self.ngram)
        if not len(self.grams):
            return Found(len(ngrams.hashes), np.empty(0, dtype=np.int64), np.zeros(len(paragraphs)))
        hit, places = members(ngrams.hashes, self.grams)
        shares = ngrams.in_paragraphs(hit) / np.maximum(1, ngrams.stops - ngrams.starts)
        return Found(len(ngrams.hashes), places[hit], shares)

    def names_of(self, places: npt.NDArray[np.int64]) -> list[str]:
        """Return the sets that these n-grams come from."""
        bits = int(np.bitwise_or.reduce(self.owners[places]))
        return [name for number, name in enumerate(self.names) if bits >> number & 1]

    def occurrences(self, index: Path) -> Iterator[tuple[str, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Yield each set's name, the places of its distinct n-grams, and how often it has each."""
        for number, name in enumerate(self.names):
            columns = np.load(index / f"set-{number:02d}.npz")
            yield name, columns["places"], columns["counts"]
