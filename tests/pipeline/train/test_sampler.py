from __future__ import annotations

import hashlib
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import FormatError
from pipeline.formats.manifest import Manifest
from pipeline.formats.shards import ShardWriter, TokenShard
from pipeline.train.sampler import NO_TARGET, Order, Windows, count_windows, pad, permute, rows_of


@given(n=st.integers(1, 3000), key=st.text(max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_permutation_visits_every_index_once(n, key):
    assert sorted(permute(np.arange(n), n, key)) == list(range(n))


@given(st.integers(1, 400), st.integers(1, 40), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_every_window_comes_once_an_epoch_whatever_the_batch(windows, sequences, seed):
    order = Order(windows, "data", 8, seed)
    steps = -(-2 * windows // sequences)
    stream = np.concatenate([order.step(step, sequences) for step in range(steps)])

    assert sorted(stream[:windows]) == list(range(windows))
    assert sorted(stream[windows : 2 * windows]) == list(range(windows))


def scalar_image(value: int, n: int, key: str) -> int:
    """The permutation again, one Python integer at a time, as the cited paper writes it."""
    left = next(a for a in range(1, n + 1) if a * a >= n)
    right = -(-n // left)
    while True:
        low, high = value % left, value // left
        for number in range(8):
            digest = hashlib.blake2b(f"{key}:{number}".encode(), digest_size=8).digest()
            mixed = (high ^ int.from_bytes(digest, "little")) * 0x9E3779B97F4A7C15 % 2**64
            mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 % 2**64
            mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
            modulus = left if number % 2 == 0 else right
            low, high = high, (low + (mixed ^ mixed >> 31) % modulus) % modulus
        value = low + left * high
        if value < n:
            return value


def test_the_order_of_old_runs_stays_theirs():
    order = Order(1000, "data", 1024, 3)

    assert order.step(0, 8).tolist() == [385, 271, 399, 244, 456, 923, 74, 435]
    assert order.step(130, 8).tolist() == [scalar_image(40 + k, 1000, "data:1024:3:1") for k in range(8)]


def test_epochs_seeds_and_data_have_orders_of_their_own():
    def first(order, epoch=0):
        return order.at(np.arange(epoch * 1000, epoch * 1000 + 1000)).tolist()

    plain = Order(1000, "data", 8, 0)
    orders = [
        first(plain),
        first(plain, 1),
        first(Order(1000, "data", 8, 1)),
        first(Order(1000, "other", 8, 0)),
    ]

    assert len({tuple(order) for order in orders}) == 4


def test_an_order_looks_like_chance():
    # Where 20,000 first windows of 200 seeds fall in 10 bins: chi-square with 9 degrees, 99.99 % below 33.7.
    found = np.concatenate([Order(9973, "data", 8, seed).at(np.arange(100)) for seed in range(200)])
    counts = np.bincount(found * 10 // 9973, minlength=10)

    assert ((counts - 2000) ** 2 / 2000).sum() < 33.7
    # Neighbours in the stream are no neighbours in the text: correlation of 20,000 pairs, 5 standard errors.
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 5 / np.sqrt(20_000)


def test_a_step_far_into_a_huge_stream_needs_no_table():
    order = Order(10**12, "data", 1024, 0)
    tracemalloc.start()
    found = order.step(10**9, 512)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert len(set(found.tolist())) == 512
    assert found.max() < 10**12
    assert peak < 4_000_000


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_any_number_of_processes_takes_the_same_windows(world_size):
    windows = Order(100, "data", 8, 0).step(3, 16)
    parts = [rows_of(rank, world_size, windows) for rank in range(world_size)]

    assert sorted(np.concatenate([part for part, _ in parts])) == sorted(windows)
    assert len({rows for _, rows in parts}) == 1
    assert all(len(part) <= rows for part, rows in parts)


def test_skipped_positions_are_left_out_and_nothing_else_moves():
    order = Order(50, "data", 8, 0)
    stream = order.at(np.arange(40)).tolist()
    skipped = [(12, 16), (4, 8)]
    kept = [
        window for position, window in enumerate(stream) if not (4 <= position < 8 or 12 <= position < 16)
    ]

    assert [int(window) for step in range(4) for window in order.step(step, 8, skipped)] == kept[:32]


def test_windows_run_across_shards_and_overlap_by_one_token(tmp_path):
    shards = []
    for name, ids in (("a", [1, 2, 3, 4, 5]), ("b", [6, 7]), ("c", [8, 9, 10, 11])):
        (tmp_path / "shards").mkdir(exist_ok=True)
        writer = ShardWriter(tmp_path / "shards" / f"{name}.ds", "uint16")
        writer.write(ids)
        shards.append(writer.close())
    manifest = Manifest(
        tokenizer="t", tokenizer_fingerprint="f", vocab_size=12, dtype="uint16", eot_id=0,
        splits={"train": tuple(shards)}, text_bytes={},
    )  # fmt: skip
    windows = Windows(tmp_path, manifest, "train", 3)

    assert windows.count == 3
    assert windows.read([0, 1, 2]).tolist() == [[1, 2, 3, 4], [4, 5, 6, 7], [7, 8, 9, 10]]
    with pytest.raises(FormatError, match="too few for one window of 11"):
        Windows(tmp_path, manifest, "train", 11)


@given(st.integers(0, 200), st.integers(1, 20))
def test_every_window_has_a_target_for_each_of_its_inputs(tokens, sequence_tokens):
    count = count_windows(tokens, sequence_tokens)

    assert count * sequence_tokens + 1 <= max(tokens, 1)
    assert (count + 1) * sequence_tokens + 1 > tokens


def test_missing_rows_are_filled_up_without_targets():
    inputs, targets = pad(np.array([[1, 2, 3]]), rows=2)

    assert inputs.tolist() == [[1, 2], [0, 0]]
    assert targets.tolist() == [[2, 3], [NO_TARGET, NO_TARGET]]


def test_the_stream_of_a_dataset_is_its_tokens(dataset):
    manifest = Manifest.read(dataset)
    windows = Windows(dataset, manifest, "train", 16)
    shards = [TokenShard(dataset / shard.name, manifest.dtype).tokens for shard in manifest.splits["train"]]

    stream = windows.read(range(windows.count))[:, :-1].ravel()
    assert stream.tolist() == np.concatenate(shards)[: len(stream)].tolist()
