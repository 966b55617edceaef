"""Every regime's runs: tokens, FLOPs, what is shared, what waits, and what is refused by its name."""

from pathlib import Path
from typing import Any

import pytest

from model.config import flops_per_token
from pipeline.config import validate
from pipeline.errors import ConfigError
from pipeline.study import order, preview
from pipeline.study.assemble import Given
from pipeline.study.config import Config
from pipeline.study.plan import Plan, PlannedRun
from pipeline.study.planner import plan_of

DIAL = {"depths": [1, 2, 3, 4, 5], "aspect": 8, "head_size": 8, "seeds": [0, 1], "repeated_below": 20_000}
FIXED = {"name": "fixed", "tokens": {"count": 64_000}}


def configured(**values: Any) -> Config:
    base = {
        "out": "study",
        "data": "data",
        "train": {"model": {"n_ctx": 16, "vocab_size": 32}, "global_batch_tokens": 64},
        "dial": DIAL,
        "learning_rate": {"base": 0.01, "base_width": 32, "exponent": -0.5},
        "metric": "validation.bits_per_byte",
        "arms": [FIXED],
    }
    given = {key: value for key, value in {**base, **values}.items() if value is not None}
    return validate(Config, given, "t")


def planned(data_tokens: int = 100_000, **values: Any) -> Plan:
    config = configured(**values)
    shapes = preview.plan(config).shapes
    given = Given(shapes=shapes, data_hash="d", data_tokens=data_tokens, measurements={})
    return plan_of(config, given)


def of_arm(plan: Plan, name: str, seed: int = 0) -> list[PlannedRun]:
    return [run for run in plan.of_arm(name) if run.seed == seed]


def test_a_dial_gives_heads_of_one_size_and_more_seeds_to_small_sizes():
    runs = planned().runs

    shapes = {run.rung: run.train["model"] for run in runs}
    assert [(s["n_layer"], s["n_head"], s["n_embd"]) for s in shapes.values()] == [
        (d, d, 8 * d) for d in (1, 2, 3, 4, 5)
    ]
    seeds = {run.rung: sum(other.rung == run.rung for other in runs) for run in runs}
    assert seeds == {"d1": 2, "d2": 2, "d3": 1, "d4": 1, "d5": 1}


def test_a_dial_whose_heads_do_not_fit_is_refused():
    with pytest.raises(ConfigError, match=r"depths: 1, 3, 5 at aspect 4 give no whole number of heads of 8"):
        configured(dial={**DIAL, "aspect": 4})


def test_tokens_by_parameters_are_whole_batches_of_that_many_for_each():
    plan = planned(arms=[{"name": "optimal", "tokens": {"per_parameter": 20}}])

    for run in plan.runs:
        assert 0 <= 20 * run.params_non_embedding - run.tokens < 64
        assert run.tokens % 64 == 0
    assert plan.arms[0].regime == "tokens per parameter"
    assert plan.arms[0].is_ladder


def test_every_size_spends_the_budget_of_its_arm_by_the_named_formula():
    plan = planned(arms=[FIXED, {"name": "isoflop", "tokens": {"flops": [3e9, 1e10]}}])

    runs = plan.of_arm("isoflop")
    assert {run.budget for run in runs} == {3e9, 1e10}
    for run in runs:
        shape = preview.plan(configured()).shapes[run.rung]
        assert run.flops == flops_per_token(shape, 16, "6N_matmul + 6LdT") * run.tokens
        assert 0 <= run.budget - run.flops < 64 * run.flops / run.tokens
    assert [arm.is_ladder for arm in plan.arms] == [True, False]


def test_a_budget_that_is_too_small_for_a_size_names_the_run():
    with pytest.raises(ConfigError, match=r"tokens.flops: d5-iso-s0-.* train \d steps with 1e\+08 FLOPs"):
        planned(arms=[FIXED, {"name": "iso", "tokens": {"flops": [1e8]}}])


def test_a_run_that_would_repeat_its_data_too_often_is_named():
    with pytest.raises(ConfigError, match=r"max_epochs: d1-fixed-s0-\w+ .* its 10,000 tokens 6.40 times"):
        planned(data_tokens=10_000, max_epochs=4)

    repeated = planned(data_tokens=20_000, max_epochs=4).runs[0]
    assert (repeated.unique_tokens, repeated.epochs) == (20_000, 3.2)


def test_a_trunk_is_stretches_that_go_on_from_each_other_and_each_horizon_a_decay_from_its_own():
    branches = {"branches": [6400, 12_800, 25_600], "decay_fraction": 0.2}
    plan = planned(arms=[FIXED, {"name": "horizons", "rungs": ["d3"], "tokens": branches}])

    runs = [run for run in plan.runs if run.arm == "horizons"]
    by_name = {run.name: run for run in runs}
    trunk, results = [r for r in runs if r.is_trunk], [r for r in runs if not r.is_trunk]
    assert [run.tokens for run in trunk] == [5120, 10_240, 20_480]
    assert [run.parent for run in trunk] == [None, trunk[0].name, trunk[1].name]
    assert [by_name[run.parent].tokens for run in results if run.parent] == [5120, 10_240, 20_480]
    assert [run.tokens for run in results] == [6400, 12_800, 25_600]
    for run in runs:
        schedule = run.train["schedule"]
        assert schedule["kind"] == "wsd"
        assert schedule["decay_tokens"] == (0 if run.is_trunk else run.tokens - run.parent_tokens)
        assert schedule["warmup_tokens"] == 320, "a twentieth of the shortest horizon, for all of them"
        assert run.train.get("init") == ({"what": "state"} if run.parent else None)
    assert plan.of_arm("horizons") == tuple(results)
    own = sum(run.tokens - run.parent_tokens for run in runs)
    assert own == 20_480 + 1280 + 2560 + 5120, "the trunk once, and each decay"


def test_a_branch_s_name_follows_from_its_whole_past():
    def last(horizons: list[int]) -> PlannedRun:
        tokens = {"branches": horizons, "decay_fraction": 0.5}
        return planned(arms=[FIXED, {"name": "h", "rungs": ["d1"], "tokens": tokens}]).runs[-1]

    assert last([6400, 25_600]).config_hash != last([12_800, 25_600]).config_hash
    assert last([6400, 25_600]).config_hash == last([6400, 25_600]).config_hash


def test_horizons_that_fall_into_one_batch_are_refused():
    tokens = {"branches": [640, 650], "decay_fraction": 0.2}
    with pytest.raises(ConfigError, match="tokens.branches: d1-h-s0-.* has no step of its own"):
        planned(arms=[FIXED, {"name": "h", "rungs": ["d1"], "tokens": tokens}])


def test_two_arms_that_plan_the_same_run_share_it():
    again = {"name": "data", "rungs": ["d2"], "tokens": {"counts": [32_000, 64_000]}}
    plan = planned(arms=[FIXED, again])

    (shared,) = [run for run in of_arm(plan, "data") if run.tokens == 64_000]
    assert (shared.arm, shared.also) == ("fixed", ("data",))
    assert len(plan.runs) == 7 + 2
    assert len(plan.of_arm("data")) == 4


def test_the_largest_of_each_ladder_waits_for_its_prediction_and_other_arms_for_all_of_them():
    optimal = {"name": "optimal", "tokens": {"per_parameter": 20}}
    budgets = {"name": "isoflop", "tokens": {"flops": [1e10]}}
    plan = planned(arms=[FIXED, optimal, budgets], check={"factors": [0.5, 1, 2]})

    awaits = {(run.arm, run.rung): run.awaits for run in plan.runs if run.awaits}
    assert awaits == {
        ("fixed", "d5"): ("fixed",),
        ("optimal", "d5"): ("optimal",),
        ("isoflop", "d5"): ("fixed", "optimal"),
        ("check", "d5"): ("fixed", "optimal"),
    }
    assert {run.arm for run in plan.runs if run.is_largest} == {"fixed", "optimal"}
    largest = next(run for run in plan.of_arm("fixed") if run.is_largest)
    assert order.needed(plan, largest) == {r.name for r in plan.of_arm("fixed") if not r.is_largest}


def test_a_check_is_the_smallest_and_the_largest_size_at_other_rates_than_the_rule_s():
    plan = planned(check={"factors": [0.5, 1, 2]})

    rule = {run.rung: run.lr for run in plan.of_arm("fixed")}
    checked = [(run.rung, run.lr / rule[run.rung], run.seed) for run in plan.of_arm("check")]
    assert [(rung, round(factor, 3), seed) for rung, factor, seed in checked] == [
        ("d1", 0.5, 0), ("d1", 2.0, 0), ("d5", 0.5, 0), ("d5", 2.0, 0),
    ]  # fmt: skip
    assert plan.arms[-1].regime == "check"


def test_a_check_needs_a_first_arm_of_one_number_of_tokens():
    with pytest.raises(ConfigError, match="check: .* give the first arm count or per_parameter"):
        planned(arms=[{"name": "i", "tokens": {"flops": [1e10]}}], check={"factors": [0.5, 2]})


def test_the_batch_grows_with_the_tokens_in_whole_sequences_and_the_rate_with_the_batch():
    rule = {"base_tokens": 64, "at_train_tokens": 64_000, "exponent": 0.5, "lr_exponent": 0.5}
    arms = [{"name": "data", "rungs": ["d4"], "tokens": {"counts": [64_000, 256_000]}}]

    small, large = planned(arms=arms, batch=rule, data_tokens=10**6).runs

    assert (small.batch_tokens, large.batch_tokens) == (64, 128)
    assert large.lr == pytest.approx(small.lr * 2**0.5, rel=1e-3)
    assert large.train["global_batch_tokens"] == 128


def test_the_order_begins_with_the_main_arm_s_small_sizes_and_first_seeds():
    optimal = {"name": "optimal", "tokens": {"per_parameter": 20}}
    plan = planned(arms=[FIXED, optimal])

    started = [(run.arm, run.rung, run.seed) for run in order.in_order(plan)]

    assert started[:8] == [
        *(("fixed", f"d{d}", 0) for d in (1, 2, 3, 4)), ("fixed", "d1", 1), ("fixed", "d2", 1),
        ("fixed", "d5", 0), ("optimal", "d1", 0),
    ]  # fmt: skip


def test_what_a_plan_takes_counts_what_waits_and_what_runs_side_by_side():
    speed = {"name": "a machine", "speeds": [[1000, 1000], [1_000_000, 100]]}
    plan = planned(hardware=speed, price_per_hour=3.6)

    seconds = {run.name: run.estimated_seconds for run in plan.runs}
    below = [run for run in plan.runs if not run.is_largest]
    largest = seconds[next(run.name for run in plan.runs if run.is_largest)]
    assert plan.estimated_seconds >= sum(seconds[run.name] for run in below) / 2 + largest
    assert plan.estimated_seconds < sum(seconds.values())
    assert order.duration(plan, {run.name: None for run in below}) is None
    assert order.duration(plan, {}) == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"arms": [FIXED, FIXED]}, "arms: names given twice: fixed"),
        ({"arms": [{**FIXED, "rungs": ["d9"]}]}, "arms: fixed: no rung d9; there are d1"),
        ({"arms": [{"name": "a"}]}, "arms: a says no tokens, and neither does the study"),
        ({"arms": None}, "tokens: missing"),
        ({"dial": None}, "rungs: give either rungs"),
        ({"arms": [FIXED], "tokens": {"seconds": 9}}, "tokens: seconds are for all runs together"),
        ({"arms": [{"name": "a", "tokens": {"count": 9, "flops": [9]}}]}, "give one of .*, not count and"),
        ({"arms": [{"name": "a", "tokens": {"flops": [9, 3]}}]}, "flops: positive numbers from small"),
        ({"arms": [{"name": "a", "tokens": {"branches": [9]}}]}, "decay_fraction belongs to branches"),
        ({"check": {"factors": [1, 2]}}, "factors: below and above 1"),
        ({"arms": [{**FIXED, "name": "check"}], "check": {"factors": [0.5, 2]}}, "no arm may be called"),
        ({"hardware": {"name": "x", "gpu": "H1000", "mfu": 0.4}}, "gpu: H1000: no such GPU"),
        ({"hardware": {"name": "x"}}, "speeds: give either gpu and mfu, or speeds"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_to_give(values: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        configured(**values)


def test_the_example_of_the_repository_plans(tmp_path: Path):
    from pipeline.config import load

    config = load(Config, Path("configs/study/ladder.yaml"), [f"data={tmp_path}"])
    told = "\n".join(preview.plan(config).lines())

    assert "arm fixed" in told and "arm optimal" in told
    assert "no dataset is there yet" in told
