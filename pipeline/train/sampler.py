"""The order of data: which windows of the token stream a step trains on, as arithmetic.

A split's shards, one after another, are one stream of tokens. Window w holds tokens w*T to w*T + T, one more
than T, so that every token but the first is a target once. An epoch visits every window once, in an order
that a keyed permutation gives without a table; position k of it is a pure function of (data, T, seed, k).
Step s takes positions s·B to s·B + B, whatever the number of processes, so resuming is arithmetic.

The permutation is the generalised Feistel network of Black and Rogaway, "Ciphers with Arbitrary Finite
Domains" (2002), section 5, on a*b >= n points, walked in cycles until it lands below n (section 4).
"""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import FormatError
from pipeline.formats.manifest import Manifest
from pipeline.formats.shards import TokenShard

ROUNDS = 8
# The arithmetic costs 0.5 ms a call and 0.6 us a position: a block at a time makes it disappear.
BLOCK = 4096
NO_TARGET = -100

Indices = npt.NDArray[np.int64]


class Windows:
    """The windows of one split, read from memory-mapped shards."""

    def __init__(self, dataset: Path, manifest: Manifest, split: str, sequence_tokens: int):
        self.sequence_tokens = sequence_tokens
        self._shards = [
            TokenShard(dataset / shard.name, manifest.dtype).tokens for shard in manifest.splits[split]
        ]
        self._ends = np.cumsum([len(shard) for shard in self._shards])
        total = int(self._ends[-1]) if self._shards else 0
        if total != manifest.tokens(split):
            raise FormatError(
                f"{dataset}: split {split} has {total} tokens, manifest.json says {manifest.tokens(split)}"
            )
        self.count = count_windows(total, sequence_tokens)
        if self.count < 1:
            raise FormatError(
                f"{dataset}: split {split} has {total} tokens, too few for one window of {sequence_tokens};"
                " lower sequence_tokens or take more data"
            )

    def read(self, indices: Sequence[int] | Indices) -> Indices:
        """Return windows as (len(indices), T + 1) ids."""
        T = self.sequence_tokens  # noqa: N806
        windows = np.empty((len(indices), T + 1), dtype=np.int64)
        for row, index in enumerate(indices):
            self._copy(int(index) * T, windows[row])
        return windows

    def _copy(self, start: int, into: Indices) -> None:
        """Fill `into` with the stream's tokens from `start`, across shards where they meet."""
        filled = 0
        shard = int(np.searchsorted(self._ends, start, side="right"))
        offset = start - (int(self._ends[shard - 1]) if shard else 0)
        while filled < len(into):
            piece = self._shards[shard][offset : offset + len(into) - filled]
            into[filled : filled + len(piece)] = piece
            filled, shard, offset = filled + len(piece), shard + 1, 0


def count_windows(tokens: int, sequence_tokens: int) -> int:
    """Return how many windows a stream of tokens has; the last target needs a token after its input."""
    return max(tokens - 1, 0) // sequence_tokens


class Order:
    """The endless stream of window numbers: each epoch a permutation of all, another each time."""

    def __init__(self, windows: int, data_hash: str, sequence_tokens: int, seed: int):
        self.windows = windows
        self._name = f"{data_hash}:{sequence_tokens}:{seed}"
        self._block_size = min(BLOCK, windows)  # more would be many epochs of a tiny split
        self._block = (-1, np.empty(0, dtype=np.int64))

    def at(self, positions: Indices) -> Indices:
        """Return the windows at positions of the stream."""
        epochs, inside = np.divmod(positions, self.windows)
        found = np.empty_like(positions)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            found[chosen] = permute(inside[chosen], self.windows, f"{self._name}:{epoch}")
        return found

    def step(self, step: int, sequences: int, skipped: Sequence[tuple[int, int]] = ()) -> Indices:
        """Return the windows of a step (counted from 0), leaving out the skipped intervals of positions."""
        positions = np.arange(step * sequences, (step + 1) * sequences, dtype=np.int64)
        for start, end in sorted(skipped):
            positions[positions >= start] += end - start
        blocks = range(int(positions[0]) // self._block_size, int(positions[-1]) // self._block_size + 1)
        return np.concatenate([self._in_block(block, positions) for block in blocks])

    def _in_block(self, block: int, positions: Indices) -> Indices:
        """Return the windows at those of the positions (ascending) that lie in a block."""
        start = block * self._block_size
        end = start + self._block_size
        if self._block[0] != block:
            self._block = (block, self.at(np.arange(start, end, dtype=np.int64)))
        first, last = np.searchsorted(positions, [start, end])
        return self._block[1][positions[first:last] - start]


def permute(values: Indices, n: int, key: str) -> Indices:
    """Return where a keyed permutation of range(n) sends the values."""
    left = max(math.isqrt(n - 1) + 1, 1)
    right = -(-n // left)
    keys = [_round_key(key, number) for number in range(ROUNDS)]
    images = _feistel(values, left, right, keys)
    while (outside := images >= n).any():
        images[outside] = _feistel(images[outside], left, right, keys)
    return images


def rows_of(rank: int, world_size: int, windows: Indices) -> tuple[Indices, int]:
    """Return the windows of a step that one process takes, and how many rows it must fill up to.

    Every process gets as many rows, so that all make as many passes; the missing rows have no targets.
    """
    return windows[rank::world_size], -(-len(windows) // world_size)


def pad(windows: Indices, rows: int) -> tuple[Indices, Indices]:
    """Return inputs and targets (rows, T) of windows (<= rows, T + 1); rows beyond have no targets."""
    shape = (rows, windows.shape[1] - 1)
    inputs, targets = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.int64)
    inputs[: len(windows)], targets[: len(windows)] = windows[:, :-1], windows[:, 1:]
    inputs[len(windows) :], targets[len(windows) :] = 0, NO_TARGET
    return inputs, targets


def _feistel(values: Indices, left: int, right: int, keys: Sequence[np.uint64]) -> Indices:
    """Apply the rounds to values below left*right; odd and even rounds add modulo the one and the other."""
    low, high = values % left, values // left
    for number, key in enumerate(keys):
        modulus = left if number % 2 == 0 else right
        low, high = high, (low + _hash(high, key, modulus)) % modulus
    # After an even number of rounds `low` is again the half below `left`.
    return low + left * high


def _hash(values: Indices, key: np.uint64, modulus: int) -> Indices:
    """Return keyed numbers below a modulus: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    mixed = (values.astype(np.uint64) ^ key) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) % np.uint64(modulus)).astype(np.int64)


def _round_key(key: str, number: int) -> np.uint64:
    digest = hashlib.blake2b(f"{key}:{number}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))
