"""Which law predicts the largest, what the verdict says, and what a sweep finds."""

import math

import numpy as np
import pytest

from pipeline.errors import StageError
from pipeline.study import choice, collect, law, rule, sentences, sweep
from pipeline.study.collect import Point
from pipeline.study.measured import noise, sizes

SIZES = (20_000, 50_000, 120_000, 300_000, 800_000, 2_000_000, 5_000_000)


def point(size: int, value: float, seed: int = 0, lr: float = 0.01) -> Point:
    counts = {"params": size * 2, "params_non_embedding": size, "tokens": 10**6, "unique_tokens": 10**6}
    return Point(
        name=f"n{size}-{seed}-{lr:g}",
        family="test",
        arm="",
        **counts,
        flops=6e6 * size,
        batch_tokens=64,
        lr=lr,
        seed=seed,
        step=10,
        metric="held_out.loss",
        value=value,
        stderr=0.01,
        config_hash=f"{size}{seed}",
    )


def chosen(tmp_path, points: list[Point], largest: int = SIZES[-1]) -> dict:
    target = choice.Target(
        rung=f"n{largest}", abscissa="params_non_embedding", size=largest, is_untrained=True
    )
    below = [p for p in points if p.params_non_embedding < largest]
    return choice.commit(tmp_path / "choice.json", below, "held_out.loss", target)


def rung(p: Point) -> str:
    return f"n{p.params_non_embedding}"


def judged(tmp_path, points: list[Point]) -> dict:
    question = law.Question(
        metric="held_out.loss", better="lower", abscissa="params_non_embedding", label=rung
    )
    found = law.found(points, question, chosen(tmp_path, points), tmp_path)
    criteria = rule.criteria(
        {"ordered_fraction": 1.0}, len(found["sizes"]), found["inversions"], found["line"], found["held_out"],
        "lower",
    )  # fmt: skip
    said = [*found["summary"], *sentences.of_rule(criteria, found["inversions"])]
    return found | {
        "criteria": criteria, "passed": all(one["passed"] for one in criteria), "summary": said
    }  # fmt: skip


LAWS = {
    "log-linear": lambda n: 5 - 0.4 * math.log10(n),
    "power": lambda n: 12 * n**-0.15,
    "offset-power": lambda n: 1.5 + 400 * n**-0.5,
}


@pytest.mark.parametrize("name", LAWS)
def test_the_law_behind_the_points_is_chosen_and_predicts_the_largest(tmp_path, name):
    made = chosen(tmp_path, [point(n, LAWS[name](n)) for n in SIZES])

    assert made["chosen"] == name
    assert made["prediction"]["value"] == pytest.approx(LAWS[name](SIZES[-1]), rel=1e-4)
    assert len(made["points"]) == len(SIZES) - 1


@pytest.mark.parametrize("scatter", [0, 1, 2])
def test_of_laws_that_are_the_same_the_one_with_fewer_coefficients_is_chosen(tmp_path, scatter):
    steeper = [12 * n ** -(0.1 + 0.002 * math.log10(n)) for n in SIZES]
    off = np.random.default_rng(scatter).normal(1, 1e-4, len(SIZES))

    made = chosen(tmp_path, [point(n, v * o) for n, v, o in zip(SIZES, steeper, off, strict=True)])

    _, power, offset = made["candidates"]
    assert offset["predicted"] == pytest.approx(power["predicted"], rel=1e-7)  # its offset is zero
    assert made["chosen"] == "power"


def test_a_law_with_an_offset_may_not_stand_below_six_sizes(tmp_path):
    made = chosen(tmp_path, [point(n, LAWS["offset-power"](n)) for n in SIZES[:6]], SIZES[5])

    assert made["chosen"] != "offset-power"
    assert [c["why_not"] for c in made["candidates"]] == ["", "", "5 sizes below the largest, it needs 6"]


def test_a_value_that_is_not_above_zero_leaves_the_line_alone(tmp_path):
    made = chosen(tmp_path, [point(n, 0.1 * math.log10(n / SIZES[0])) for n in SIZES])

    assert made["chosen"] == "log-linear"
    assert "not above zero" in made["candidates"][1]["why_not"]
    assert made["prediction"]["value"] == pytest.approx(0.1 * math.log10(SIZES[-1] / SIZES[0]))


def test_points_count_by_what_their_seeds_and_evaluation_leave_open(tmp_path):
    points = [point(n, 5 - 0.4 * math.log10(n) + 0.02 * s, s) for n in SIZES for s in (0, 1)]

    made = chosen(tmp_path, points)

    assert "scatter of seeds" in made["weights"]
    assert [one["weight"] for one in made["points"]] == pytest.approx([2 / 0.02**2] * 12)


def test_too_few_sizes_to_choose_by_are_said(tmp_path):
    with pytest.raises(StageError, match="2 sizes below the largest cannot choose a form"):
        chosen(tmp_path, [point(n, 1.0) for n in SIZES[:3]], SIZES[2])


def test_a_ladder_in_order_as_predicted_passes_on_every_count(tmp_path):
    scatter = np.random.default_rng(0)
    points = [point(n, 5 - 0.4 * math.log10(n) + 0.01 * scatter.normal(), s) for n in SIZES for s in (0, 1)]

    verdict = judged(tmp_path, points)

    assert verdict["passed"], verdict["criteria"]
    assert verdict["inversions"] == []
    assert verdict["noise"]["source"] == "pooled standard deviation of seeds (7 degrees of freedom)"
    assert "Larger is better in 6 of 6 steps." in verdict["summary"]


def test_what_goes_against_the_claim_is_said(tmp_path):
    values = [3.0, 2.9, 2.95, 2.6, 2.5, 2.4, 2.8]
    points = [
        point(n, v + d, s) for n, v in zip(SIZES, values, strict=True) for s, d in ((0, 0.01), (1, -0.01))
    ]

    verdict = judged(tmp_path, points)

    assert not verdict["passed"]
    assert len(verdict["inversions"]) == 2
    assert any("not from n50000 to n120000 (+0.0500), n2000000 to n5000000" in s for s in verdict["summary"])
    assert "the largest was predicted" in verdict["summary"][-1]


def test_without_repeated_seeds_noise_is_the_evaluations_error_and_named_so():
    points = [point(n, 1.0) for n in SIZES]

    found = noise(sizes(points, rung, "params_non_embedding"))

    assert found.value == 0.01
    assert "no seed was repeated" in found.source


def test_a_missing_value_is_missing_and_named(tmp_path):
    path = tmp_path / "points.csv"
    lost = point(50_000, 1.0, seed=1)
    collect.write(path, [point(20_000, 1.0), Point(**{**vars(lost), "value": None})])

    assert [p.value for p in collect.read(path)] == [1.0, None]
    with pytest.raises(collect.StageError, match=r"no value of held_out.loss from n50000-1"):
        collect.select(collect.read(path), "held_out.loss")


@pytest.mark.parametrize("cell", ["nan", "inf", ""])
def test_a_number_that_is_none_is_missing_too(tmp_path, cell):
    path = tmp_path / "points.csv"
    collect.write(path, [point(20_000, 123.5)])
    path.write_text(path.read_text().replace("123.5", cell))

    assert [p.value for p in collect.read(path)] == [None]


def test_a_parabola_through_the_rates_finds_its_top_and_the_exponent_joins_the_widths():
    best = {16: 0.02, 64: 0.01, 256: 0.005}
    rates = (0.0025, 0.005, 0.01, 0.02, 0.04)
    points = [point(w * 1000, 2 + 0.1 * math.log(r / best[w]) ** 2, lr=r) for w in best for r in rates]
    rungs = {p.name: f"w{p.params_non_embedding // 1000}" for p in points}

    found = sweep.verdict(points, rungs, {f"w{w}": w for w in best}, "held_out.loss", -1)

    assert [one["best"] for one in found["widths"]] == pytest.approx([0.02, 0.01, 0.005])
    assert found["rule"]["exponent"] == pytest.approx(-0.5)
    assert found["warnings"] == []
