"""What deduplication knows of a document without its text: a few numbers and hashes, one set of arrays per
file.

Comparing documents then reads arrays from disk, and memory grows with the number of documents (about 100
bytes each), never with their text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.near import Bands, band_keys, minima
from pipeline.data.words import Hashes, ngram_hashes, normal_digest, normal_words, word_hashes
from pipeline.formats.publish import publishing

Array = npt.NDArray[Any]


@dataclass
class Describe:
    """A pipeline's last step: write the arrays of the documents of file number `rank`."""

    folder: Path
    bands: Bands

    def __call__(self, data: Iterable[Any], rank: int, _world_size: int) -> None:
        """Consume the documents."""
        target = described_folder(self.folder, rank)
        if target.exists():
            return  # whole, for it was published; only datatrove's mark after it is missing
        rows = [_describe(document, self.bands) for document in data]
        with publishing(target) as draft:
            draft.mkdir()
            _save(draft, rows, self.bands.bands)


@dataclass(frozen=True)
class Described:
    """The arrays of all files, one after another: N documents, in the order of files and lines."""

    counts: list[int]
    ids: Hashes  # (N, 2): the two halves of the document id
    digests: Hashes  # (N, 2): of the normalised text
    karma: npt.NDArray[np.int64]  # (N,)
    length: npt.NDArray[np.int64]  # (N,) characters
    folders: list[Path]

    @classmethod
    def read(cls, folder: Path, files: int) -> Described:
        """Read what `Describe` wrote for this many files."""
        folders = [described_folder(folder, rank) for rank in range(files)]

        def joined(name: str) -> Any:
            return np.concatenate([np.load(each / f"{name}.npy") for each in folders])

        counts = [len(np.load(each / "karma.npy", mmap_mode="r")) for each in folders]
        return cls(counts, joined("ids"), joined("digests"), joined("karma"), joined("length"), folders)

    def best_first(self) -> npt.NDArray[np.int64]:
        """Return each document's place (N,) in canonical order: most karma, longest, lowest id."""
        order = np.lexsort((self.ids[:, 1], self.ids[:, 0], -self.length, -self.karma))
        places = np.empty(len(order), dtype=np.int64)
        places[order] = np.arange(len(order))
        return places

    def band(self, number: int) -> Hashes:
        """Return the keys of one band (N,); 0 where a document is too short to have any."""
        return np.concatenate([np.load(each / "bands.npy", mmap_mode="r")[number] for each in self.folders])

    def ragged(self, name: str) -> Ragged:
        """Return a list of numbers for each document, read from disk where needed."""
        return Ragged(self.folders, name)

    def hex_id(self, number: int) -> str:
        """Return the id of document `number` as it stands in the document files."""
        high, low = self.ids[number]
        return f"{int(high):016x}{int(low):016x}"


class Ragged:
    """Arrays of different lengths, one for each document, memory-mapped file by file."""

    def __init__(self, folders: Sequence[Path], name: str):
        self.values = [np.load(each / f"{name}.npy", mmap_mode="r") for each in folders]
        self.ends = [np.load(each / f"{name}_ends.npy") for each in folders]
        self._starts = np.concatenate([[0], np.cumsum([len(ends) for ends in self.ends])])

    def __getitem__(self, number: int) -> Array:
        """Return the array of document `number`."""
        file = int(np.searchsorted(self._starts, number, side="right")) - 1
        place = number - int(self._starts[file])
        ends = self.ends[file]
        return np.asarray(self.values[file][int(ends[place - 1]) if place else 0 : int(ends[place])])


def described_folder(folder: Path, rank: int) -> Path:
    """Return where the arrays of a file lie."""
    return folder / f"{rank:05d}"


def paragraphs_of(text: str) -> list[str]:
    """Return the paragraphs of a tidy text: what blank lines separate."""
    return text.split("\n\n")


def _describe(document: Any, bands: Bands) -> dict[str, Any]:
    words = normal_words(document.text)
    shingles = ngram_hashes(word_hashes(words), bands.ngram)
    digest = np.frombuffer(normal_digest(words), dtype=">u8").astype(np.uint64)
    return {
        "ids": np.frombuffer(bytes.fromhex(document.id), dtype=">u8").astype(np.uint64),
        "digests": digest,
        "karma": int(document.metadata["karma"]),
        "length": len(document.text),
        "bands": band_keys(minima(shingles, bands), bands),
        # 32 bits are plenty to compare two documents, and halve what is kept on disk.
        "shingles": np.unique((shingles >> np.uint64(32)).astype(np.uint32)),
        "paragraphs": np.array(
            [_paragraph_hash(each) for each in paragraphs_of(document.text)], dtype=np.uint64
        ),
    }


def _paragraph_hash(paragraph: str) -> int:
    exact = " ".join(paragraph.split())
    return int.from_bytes(hashlib.blake2b(exact.encode(), digest_size=8).digest(), "little")


def _save(folder: Path, rows: list[dict[str, Any]], bands: int) -> None:
    def column(name: str, dtype: Any, width: int) -> Array:
        return np.array([row[name] for row in rows], dtype=dtype).reshape(len(rows), width)

    np.save(folder / "ids.npy", column("ids", np.uint64, 2))
    np.save(folder / "digests.npy", column("digests", np.uint64, 2))
    np.save(folder / "karma.npy", column("karma", np.int64, 1)[:, 0])
    np.save(folder / "length.npy", column("length", np.int64, 1)[:, 0])
    np.save(folder / "bands.npy", np.ascontiguousarray(column("bands", np.uint64, bands).T))
    for name, dtype in (("shingles", np.uint32), ("paragraphs", np.uint64)):
        parts = [row[name] for row in rows]
        np.save(folder / f"{name}.npy", np.concatenate([*parts, np.empty(0, dtype)]))
        np.save(folder / f"{name}_ends.npy", np.cumsum([len(part) for part in parts], dtype=np.int64))
