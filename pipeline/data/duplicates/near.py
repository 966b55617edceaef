"""Near duplicates: documents that share a bucket are compared in truth, and the best of those alike stays.

Taken best first, a document goes if one that stays is really like it: a chain of small changes never
swallows its far end. Finding pairs and comparing them are tasks; only the last pass over the pairs found
alike is one process, and it streams.

A bucket may have thousands of members, so each is compared with its best few. If some of those go, others
take their place in the next round; after a round that finds nothing new to compare, every document that stays
has been compared with the best that stay in each of its buckets.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.duplicates.arrays import Array, between, numbered, write_array
from pipeline.data.duplicates.describe import Described
from pipeline.data.duplicates.minhash import Bands
from pipeline.data.duplicates.order import Decisions, Order
from pipeline.data.phase import PhaseRun
from pipeline.formats.hashes import Hashes
from pipeline.formats.publish import publishing

LEADERS = 8  # members of a bucket that all its others are compared with
ROUNDS = 16  # of comparing; whoever then still has something to be compared with stays
SHARE = 1 << 16  # documents whose pairs are one task

PAIR = np.dtype([("pair", "<u8")])  # worse place << 32 | better place: in order, best worse document first
COMPARED = np.dtype([("pair", "<u8"), ("alike", "?")])
_BETTER = (1 << 32) - 1


def write_near(bands: Bands, described: Described, order: Order, exact: Path, phase: PhaseRun) -> Path:
    """Decide which documents go because a better one is nearly the same; returns the decisions' folder.

    `exact` are the decisions to begin with.
    """
    shares = -(-int(described.starts[-1]) // SHARE)
    rounds: list[Path] = []
    decided = exact
    for number in range(ROUNDS):
        compared, target = phase.work / f"compared-{number}", phase.work / f"near-{number}"
        if not target.exists():
            pairs = phase.work / f"pairs-{number}"
            find = FindPairs(described, order, decided, pairs)
            phase.run_tasks([find], described.slices("buckets"), f"pairs-{number}")
            compare = ComparePairs(described, order, bands.min_jaccard, pairs, rounds, compared)
            phase.run_tasks([compare], shares, f"compare-{number}")
            write_decisions([*rounds, compared], shares, exact, target)
            shutil.rmtree(pairs, ignore_errors=True)
        rounds.append(compared)
        decided = target
        if not any(path.stat().st_size for path in numbered(compared)):
            break
    return decided


@dataclass
class FindPairs:
    """The one step of a task: find what is to be compared in range number `rank` of the buckets."""

    described: Described
    order: Order
    decided: Path
    folder: Path

    def __call__(self, _data: Any, rank: int, _world_size: int) -> None:
        """Write the pairs."""
        keys, rows, _ = self.described.postings("buckets", rank)
        places = self.order.places[rows]
        stays = Decisions.read(self.decided).codes[places] == 0
        pairs = pairs_of(keys[stays], places[stays])
        with publishing(self.folder / f"{rank:05d}") as draft:
            write_array(draft, pairs[pairs >= self.order.earlier << 32])


def pairs_of(keys: Hashes, places: Array) -> Hashes:
    """Return the pairs, sorted, of each member of a bucket with the best of that bucket, if better."""
    by = np.lexsort((places, keys))
    keys, places = keys[by], places[by].astype(np.uint64)
    is_first = np.ones(len(keys), dtype=bool)
    is_first[1:] = keys[1:] != keys[:-1]
    numbers = np.arange(len(keys))
    first = np.maximum.accumulate(np.where(is_first, numbers, 0))
    found = []
    for leader in range(LEADERS):
        worse = np.flatnonzero(numbers - first > leader)
        found.append(places[worse] << np.uint64(32) | places[first[worse] + leader])
    return np.unique(np.concatenate(found))


@dataclass
class ComparePairs:
    """The one step of a task: compare the pairs of share number `rank` that were not compared before."""

    described: Described
    order: Order
    min_jaccard: float
    pairs: Path
    before: Sequence[Path]
    folder: Path

    def __call__(self, _data: Any, rank: int, _world_size: int) -> None:
        """Write the pairs, each with whether it is alike."""
        low, high = rank * SHARE << 32, ((rank + 1) * SHARE << 32) - 1
        pieces = [between(path, PAIR, low, high, "pair") for path in numbered(self.pairs)]
        found = np.unique(np.concatenate(pieces)["pair"])
        known = np.concatenate([np.empty(0, COMPARED), *_of_share(self.before, rank)])["pair"]
        new = np.setdiff1d(found, known, assume_unique=True)
        compared = np.empty(len(new), dtype=COMPARED)
        compared["pair"] = new
        compared["alike"] = [self._is_alike(pair >> 32, pair & _BETTER) for pair in new.tolist()]
        with publishing(self.folder / f"{rank:05d}") as draft:
            write_array(draft, compared)

    def _is_alike(self, worse: int, better: int) -> bool:
        if not self.min_jaccard:
            return True
        return jaccard(self._shingles(worse), self._shingles(better)) >= self.min_jaccard

    @cached_property
    def _shingles(self) -> Any:
        rows = self.order.rows
        # A worse document's pairs come one after another, and many documents have the same better one.
        return lru_cache(maxsize=64)(lambda place: self.described.shingles(int(rows[place])))


def jaccard(left: Array, right: Array) -> float:
    """Return the similarity of two arrays of distinct shingles."""
    both = np.sort(np.concatenate([left, right]))
    common = int(np.count_nonzero(both[1:] == both[:-1]))
    return common / (len(both) - common)


def write_decisions(rounds: Sequence[Path], shares: int, exact: Path, folder: Path) -> None:
    """Let go, best first, each document that is like one that stays; all comparisons so far count."""
    with publishing(folder) as draft:
        before = Decisions.read(exact)
        decisions = Decisions.begin(draft, len(before.codes))
        decisions.take(before)
        for share in range(shares):
            compared = np.concatenate(_of_share(rounds, share))
            for pair in np.sort(compared["pair"][compared["alike"]]).tolist():
                worse, better = pair >> 32, pair & _BETTER
                if not decisions.codes[worse] and not decisions.codes[better]:
                    decisions.drop(worse, "near", better)


def _of_share(rounds: Sequence[Path], share: int) -> list[Array]:
    """Return what was compared in each round of the documents of a share."""
    return [np.fromfile(compared / f"{share:05d}", COMPARED) for compared in rounds]
