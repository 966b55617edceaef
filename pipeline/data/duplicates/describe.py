"""What deduplication knows of a document without its text: a few numbers, and sorted lists of hashes.

A part of a file (at most 16,384 documents) has one record per document, and for addresses, texts, buckets and
paragraphs a list of hashes with the document of each. The lists are sorted: whoever compares the hashes of
one range over all parts reads that range of each part and nothing else, so memory depends on the range and
work grows with the corpus. A document takes about 0.3 kB in them (14 buckets), four bytes per word for its
shingles, and 16 bytes for each paragraph.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.data.duplicates.arrays import Array, between, write_array
from pipeline.data.duplicates.minhash import Bands, bucket_keys
from pipeline.formats.hashes import Hashes, mixed, ngram_hashes, normal_digest, normal_words, word_hashes
from pipeline.formats.publish import publishing

PART_DOCUMENTS = 1 << 14
PART_CHARACTERS = 1 << 25  # a part ends after so many, too
# Hashes compared at a time, about: their arrays take some 100 MB. Equal hashes are never divided.
SLICE = 1 << 20

List = Literal["urls", "texts", "buckets", "paragraphs"]

RECORD = np.dtype(
    [
        ("id", "<u8", 2),  # the two halves of the document id
        ("digest", "<u8"),  # of the normalised text
        ("karma", "<i8"),
        ("length", "<i8"),  # characters
        ("shingles", "<i8"),  # where the document's end in the part's array
        ("paragraphs", "<i8"),  # how many there are up to the end of this document
    ]
)
# 64 bits: that any two of a billion different texts agree has a probability of 3 percent.
POSTING = np.dtype([("key", "<u8"), ("row", "<u4"), ("place", "<u4")])  # place: of a paragraph in the part


@dataclass
class Describe:
    """A pipeline's last step: describe the documents of file number `rank`."""

    folder: Path
    bands: Bands | None
    paragraphs: bool

    def __call__(self, data: Iterable[Any], rank: int, _world_size: int) -> None:
        """Consume the documents."""
        target = self.folder / f"{rank:05d}"
        if target.exists():
            return  # whole, for it was published; only datatrove's mark after it is missing
        with publishing(target) as draft:
            draft.mkdir()
            part = _Part(self.bands, self.paragraphs)
            parts = 0
            for document in data:
                part.add(document)
                if part.is_full:
                    part.write(draft / f"{parts:05d}")
                    part, parts = _Part(self.bands, self.paragraphs), parts + 1
            part.write(draft / f"{parts:05d}")


def paragraphs_of(text: str) -> list[str]:
    """Return the paragraphs of a tidy text: what blank lines separate."""
    return text.split("\n\n")


class _Part:
    """The description of some documents while it grows."""

    def __init__(self, bands: Bands | None, paragraphs: bool):
        self._bands, self._wants_paragraphs = bands, paragraphs
        self._records: list[tuple[Any, ...]] = []
        self._shingles: list[Hashes] = []
        self._paragraphs: list[Hashes] = []
        self._paragraph_count = 0
        self._characters = 0

    @property
    def is_full(self) -> bool:
        return len(self._records) == PART_DOCUMENTS or self._characters >= PART_CHARACTERS

    def add(self, document: Any) -> None:
        words = normal_words(document.text)
        if self._bands:
            self._shingles.append(ngram_hashes(word_hashes(words), self._bands.ngram))
        if self._wants_paragraphs:
            hashes = np.fromiter(map(_paragraph_hash, paragraphs_of(document.text)), np.uint64)
            self._paragraphs.append(hashes)
            self._paragraph_count += len(hashes)
        self._characters += len(document.text)
        halves = np.frombuffer(bytes.fromhex(document.id), dtype=">u8")
        digest = int.from_bytes(normal_digest(words)[:8], "big")
        self._records.append(
            (halves, digest, int(document.metadata["karma"]), len(document.text), 0, self._paragraph_count)
        )

    def write(self, folder: Path) -> None:
        folder.mkdir()
        records = np.array(self._records, dtype=RECORD)
        rows = np.arange(len(records))
        _write_postings(folder / "urls", mixed(records["id"][:, 0]) ^ records["id"][:, 1], rows)
        _write_postings(folder / "texts", records["digest"], rows)
        _write_postings(folder / "buckets", *self._buckets())
        shingles = list(map(_distinct, self._shingles)) if self._compares else []
        records["shingles"] = np.cumsum(list(map(len, shingles))) if shingles else 0
        write_array(folder / "shingles", np.concatenate([*shingles, np.empty(0, np.uint32)]))
        hashes = np.concatenate([*self._paragraphs, np.empty(0, np.uint64)])
        documents = np.repeat(rows, np.diff(records["paragraphs"], prepend=0))
        _write_postings(folder / "paragraphs", hashes, documents, np.arange(len(hashes)))
        write_array(folder / "documents", records)

    @property
    def _compares(self) -> bool:
        return bool(self._bands and self._bands.min_jaccard)

    def _buckets(self) -> tuple[Array, Array]:
        """Return the keys of all buckets and their documents."""
        rows = [row for row, shingles in enumerate(self._shingles) if len(shingles)]
        if not self._bands or not rows:
            return np.empty(0, np.uint64), np.empty(0, np.int64)
        keys = bucket_keys([self._shingles[row] for row in rows], self._bands)
        return keys.ravel(), np.repeat(rows, self._bands.bands)


def _paragraph_hash(paragraph: str) -> int:
    exact = " ".join(paragraph.split())
    return int.from_bytes(hashlib.blake2b(exact.encode(), digest_size=8).digest(), "little")


def _distinct(shingles: Hashes) -> Array:
    """Return the sorted set of shingles in 32 bits: plenty to compare two documents, half as large."""
    ordered = np.sort((shingles >> np.uint64(32)).astype(np.uint32))
    is_first = np.ones(len(ordered), dtype=bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_first]


def _write_postings(path: Path, keys: Array, rows: Array, places: Array | int = 0) -> None:
    postings = np.empty(len(keys), dtype=POSTING)
    postings["key"], postings["row"], postings["place"] = keys, rows, places
    write_array(path, postings[np.argsort(keys, kind="stable")])


@dataclass(frozen=True)
class Described:
    """The descriptions of all files, one after another; rows and paragraphs are numbered through all of
    them.
    """

    files: Sequence[Sequence[Path]]  # the folders of each file's parts

    @classmethod
    def read(cls, folder: Path, files: int) -> Described:
        """Return what `Describe` wrote for this many files."""
        return cls([sorted((folder / f"{rank:05d}").iterdir()) for rank in range(files)])

    @cached_property
    def parts(self) -> list[Path]:
        """Return the folders of all parts."""
        return [part for parts in self.files for part in parts]

    @cached_property
    def starts(self) -> Array:
        """Return how many documents stand before each part, and last how many there are (parts + 1,)."""
        return self._starts("documents", RECORD)

    @cached_property
    def paragraph_starts(self) -> Array:
        """Return how many paragraphs stand before each part, and last how many there are (parts + 1,)."""
        return self._starts("paragraphs", POSTING)

    def documents_in(self, files: int) -> int:
        """Return how many documents the first so many files have."""
        return int(self.starts[sum(map(len, self.files[:files]))])

    def rows_of(self, file: int) -> range:
        """Return the rows of a file's documents."""
        first, last = self._parts_of(file)
        return range(int(self.starts[first]), int(self.starts[last]))

    def paragraphs_of_file(self, file: int) -> range:
        """Return the numbers of a file's paragraphs."""
        first, last = self._parts_of(file)
        return range(int(self.paragraph_starts[first]), int(self.paragraph_starts[last]))

    def digests_of(self, file: int) -> Hashes:
        """Return the digests of a file's documents."""
        return np.concatenate([self.records(part)["digest"] for part in self.files[file]])

    def records(self, part: Path) -> Array:
        """Return the records of a part's documents."""
        return np.fromfile(part / "documents", RECORD)

    def slices(self, name: List) -> int:
        """Return into how many ranges the hashes of a list are divided."""
        hashes = sum((part / name).stat().st_size for part in self.parts) // POSTING.itemsize
        return 1 << max(0, (hashes - 1) // SLICE).bit_length()

    def postings(self, name: List, index: int) -> tuple[Hashes, Array, Array]:
        """Return hashes, rows and paragraphs of range number `index` of a list."""
        slices = self.slices(name)
        low, high = (index << 64) // slices, ((index + 1) << 64) // slices - 1
        found = [between(part / name, POSTING, low, high, "key") for part in self.parts]
        sizes = list(map(len, found))
        joined = np.concatenate([*found, np.empty(0, POSTING)])
        rows = joined["row"] + np.repeat(self.starts[:-1], sizes)
        paragraphs = joined["place"] + np.repeat(self.paragraph_starts[:-1], sizes)
        return joined["key"], rows, paragraphs

    def shingles(self, row: int) -> Array:
        """Return the sorted shingles of a document."""
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        part, place = self.parts[number], row - int(self.starts[number])
        before = min(place, 1)  # the record before this one says where it begins
        offset = (place - before) * RECORD.itemsize
        ends = np.fromfile(part / "documents", RECORD, count=1 + before, offset=offset)["shingles"]
        first, last = (int(ends[0]), int(ends[1])) if before else (0, int(ends[0]))
        return np.fromfile(part / "shingles", np.uint32, count=last - first, offset=4 * first)

    def _starts(self, name: str, dtype: Any) -> Array:
        sizes = [(part / name).stat().st_size // dtype.itemsize for part in self.parts]
        return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])

    def _parts_of(self, file: int) -> tuple[int, int]:
        first = sum(map(len, self.files[:file]))
        return first, first + len(self.files[file])
