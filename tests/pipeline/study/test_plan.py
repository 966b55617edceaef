"""Packing, budgets and names: the arithmetic of a plan."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.study.plan import Measurement, complete, learning_rate, makespan, run_seconds, tokens_within

BASE = {"global_batch_tokens": 64, "model": {"n_ctx": 16}, "optim": {"lr": 1, "eps": 1e-9}}
seconds = st.lists(st.floats(0.1, 50), min_size=1, max_size=6)


def measured(speed: float, start: float = 2.0, evaluate: float = 1.0) -> Measurement:
    return Measurement(tokens_per_second=speed, start_seconds=start, evaluate_seconds=evaluate, threads=1)


@given(jobs=seconds, processes=st.integers(1, 3))
def test_longest_first_is_within_a_third_of_the_best_packing(jobs, processes):
    ways = itertools.product(range(processes), repeat=len(jobs))
    best = min(
        max(sum(j for j, p in zip(jobs, way, strict=True) if p == slot) for slot in range(processes))
        for way in ways
    )

    assert best - 1e-9 <= makespan(jobs, processes) <= best * 4 / 3 + 1e-9


@given(budget=st.floats(40, 4000), speeds=st.lists(st.floats(500, 50000), min_size=2, max_size=6))
def test_the_tokens_of_a_budget_fit_it_and_one_batch_more_does_not(budget, speeds):
    groups = [[measured(speed) for speed in speeds[1:]], [measured(speeds[0])]]

    tokens = tokens_within(budget, groups, 2, 64)

    def duration(count: int) -> float:
        return sum(makespan([run_seconds(one, count) for one in group], 2) for group in groups)

    assert tokens % 64 == 0
    assert duration(tokens) <= budget < duration(tokens + 64)


def test_a_budget_below_the_time_of_starting_is_refused():
    with pytest.raises(ConfigError, match=r"5 s are too few: starting and evaluating the runs takes 6"):
        tokens_within(5, [[measured(1000)], [measured(1000)]], 2, 64)


def test_the_learning_rate_falls_with_width_by_the_exponent():
    assert learning_rate(64, base=0.004, base_width=64, exponent=-0.5) == 0.004
    assert learning_rate(256, base=0.004, base_width=64, exponent=-0.5) == 0.002


def test_a_run_is_the_base_with_what_the_study_decides():
    train = complete(BASE, model={"n_embd": 8}, seed=3, lr=0.5, tokens=6400, warmup_fraction=0.1)

    assert train["model"] == {"n_ctx": 16, "n_embd": 8}
    assert train["optim"] == {"lr": 0.5, "eps": 1e-9}
    assert train["schedule"] == {"warmup_tokens": 640}
    assert (train["seed"], train["train_tokens"]) == (3, 6400)
    assert BASE["optim"]["lr"] == 1
