"""What an analysis says of studies whose truth is known."""

import json
import math
from dataclasses import replace

import pytest

from pipeline.errors import StageError
from pipeline.study import accuracy, analysis, check, compute, reach, survey
from pipeline.study.measured import Noise
from pipeline.study.regimes import BRANCHED
from pipeline.study.surface import surface as surface_of
from tests.pipeline.study import planted
from tests.pipeline.study.planted import BITS, SIZES, Metrics, by_flops, by_size, fixed, growing, plant

E, A, B, ALPHA, BETA = 0.9, 40.0, 300.0, 0.34, 0.4
TOKENS = [10**6, 2 * 10**6, 4 * 10**6, 8 * 10**6, 16 * 10**6]


def straight(n, _d):
    return 5 - 0.4 * math.log10(n)


def bent(n, _d):
    return 12 * n**-0.2


def surface(n, d):
    return E + A * n**-ALPHA + B * d**-BETA


def best_size(flops):
    scale = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))
    return scale * (flops / 6) ** (BETA / (ALPHA + BETA))


def around(flops):
    return [round(best_size(flops) * 10 ** (i / 8)) for i in range(-4, 5)]


def valley(best):
    """What a rate of so many times the rule's costs."""
    return lambda _size, factor: 0.2 * math.log(factor / best) ** 2


BUDGETS = by_flops((1e13, 1e14, 1e15), around)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study of every kind of arm on a surface: its verdict, and the folder of its fits."""
    others = {
        "winograd.accuracy": lambda _n, _d, value: 0.5 + 0.001 * math.sin(1e4 * value),
        "quiz.accuracy": lambda n, _d, _value: min(1.0, 0.1 + 0.15 * math.log10(n / 1e4)),
        "quiz.matthews": lambda _n, _d, _value: 0.0,
        "overlap.shared_train": lambda _n, _d, _value: 0.1,
    }
    arms = [fixed(), by_size(), BUDGETS, growing(TOKENS), growing(TOKENS[:2], BRANCHED), planted.check()]
    metrics = Metrics(law=surface, noise=0.001, rate=valley(1.0), others=others)
    folder = tmp_path_factory.mktemp("fits")
    return plant(arms, metrics, target={"value": 1.2}).judged(folder), folder


def arm_of(found, name):
    return next(arm for arm in found["arms"] if arm["name"] == name)


def test_a_straight_truth_is_told_from_a_power_law_and_passes_by_its_rule(tmp_path):
    found = plant([fixed(seeds=(0, 1, 2))], Metrics(law=straight)).judged(tmp_path)

    assert found["passed"], found["criteria"]
    assert found["held_out"]["predicted_before_training"] and found["held_out"]["inside_interval"]
    assert (found["apart"]["better"], found["apart"]["told"]) == ("log-linear", True)
    assert found["line"]["low"] < -0.4 < found["line"]["high"]
    assert any("log-linear rather than power" in line for line in found["speaks_for"])
    assert not any("another law" in line for line in found["speaks_against"])
    assert "seeds of each size drawn" in found["line"]["seeds"]["method"]
    assert found["line"]["seeds"]["low"] < found["line"]["slope"] < found["line"]["seeds"]["high"]
    assert "inverse square of the scatter of seeds" in found["weights"]
    assert json.loads((tmp_path / "choice.json").read_text())["points"][0]["weight"] > 1


def test_a_power_truth_is_told_from_a_line_and_speaks_against_the_claim(tmp_path):
    study = plant([fixed(), planted.check()], Metrics(law=bent, rate=valley(2.0)))

    found = study.judged(tmp_path)

    assert (found["apart"]["better"], found["apart"]["told"]) == ("power", True)
    assert found["misses"]["power"] < found["misses"]["log-linear"]
    assert any("the points speak for another law: power" in line for line in found["speaks_against"])
    assert any("saturating" in line.lower() for line in found["speaks_against"])
    assert found["check"]["holds"] is False
    assert found["check"]["words"] in found["speaks_against"]


def test_cannot_tell_is_said_where_noise_hides_the_law(tmp_path):
    found = plant([fixed()], Metrics(law=lambda n, _d: 12 * n**-0.1, noise=0.2)).judged(tmp_path)

    assert not found["apart"]["told"]
    assert any(line.startswith("Cannot tell: ") for line in found["summary"])
    assert any("cannot tell: " in line for line in found["speaks_against"])


def test_each_ladder_has_its_choice_its_files_and_its_own_verdict(whole):
    found, folder = whole
    names = {path.name for path in folder.iterdir()}
    laws = {"log-linear.json", "power.json", "offset-power.json", "choice.json"}
    optimal = arm_of(found, "optimal")

    assert laws | {f"optimal-{name}" for name in laws} <= names
    assert [(arm["name"], arm["is_main"]) for arm in found["arms"][:2]] == [
        ("fixed", True),
        ("optimal", False),
    ]
    assert optimal["held_out"]["rung"] == f"n{SIZES[-1]}"
    assert optimal["tokens_per_parameter"] == [20, 20]
    assert json.loads((folder / "optimal-choice.json").read_text())["before_the_largest"] is True
    assert found["sizes"] == found["arms"][0]["sizes"]
    assert any(line.startswith("Arm optimal (20 tokens for each") for line in found["summary"])
    json.dumps(found)


def test_arms_together_give_the_exponents_of_their_surface(whole):
    found, folder = whole
    told = found["surface"]

    assert told["form"] == "hoffmann"
    low, high = told["intervals"]["a"]
    assert low < BETA / (ALPHA + BETA) < high
    assert (folder / "hoffmann.json").is_file()
    assert "compute is best spent as non-embedding parameters ~ C^0." in told["words"]
    assert any("branches share a trunk" in warning for warning in told["warnings"])
    assert any("repeat their data" in warning for warning in told["warnings"])


def test_one_ladder_has_no_surface_and_arms_whose_size_and_data_move_together_say_so(tmp_path):
    one, two = ([fixed()], [by_size(20), by_size(25)])

    assert surface_of(plant(one, Metrics(law=surface)).material(tmp_path)) is None
    told = surface_of(plant(two, Metrics(law=surface)).material(tmp_path))

    assert (told["form"], told["fits"], told["exponents"]) == (None, {}, {})
    assert told["words"].startswith("No law of size and data together: hoffmann: size and data move together")


def test_budgets_give_the_exponents_of_the_surface_by_both_counts_and_methods(whole):
    found, _ = whole
    rows = {(row["count"], row["method"]): row for row in found["frontier"]}
    kaplan = rows["params_non_embedding", "parabola"]

    assert len(rows) == 4
    assert kaplan["exponents"]["a"] == pytest.approx(BETA / (ALPHA + BETA), abs=0.03)
    assert rows["params", "parabola"]["exponents"]["a"] < kaplan["exponents"]["a"]
    assert kaplan["minima"][0]["bend"] > 0
    assert rows["params", "interpolation"]["minima"][0]["bend"] is None
    assert [len(curve["points"]) for curve in arm_of(found, "isoflop")["budgets"]] == [9, 9, 9]
    assert any(line.startswith("Equal FLOPs, Kaplan's count") for line in found["summary"])


def test_a_study_of_budgets_alone_has_a_frontier_and_no_verdict_of_a_ladder(tmp_path):
    found = plant([BUDGETS], Metrics(law=surface, noise=0.0)).judged(tmp_path)

    assert (found["passed"], found["held_out"], found["criteria"]) == (None, None, [])
    assert len(found["frontier"]) == 4
    assert found["summary"][0] == "3 budgets of 1e+13 to 1e+15 FLOPs, 9 to 9 sizes each."


def test_the_frontier_of_compute_holds_what_nothing_cheaper_beats(tmp_path):
    study = plant([fixed(), by_size(), planted.check()], Metrics(law=surface, noise=0.0))

    found = compute.frontier(study.material(tmp_path))

    best = math.inf
    for point in found["points"]:
        assert point["on_frontier"] == (point["value"] < best)
        best = min(best, point["value"])
    assert len(found["points"]) == 2 * len(SIZES), "runs at other rates are no sizes of their own"
    assert set(found["fits"]) == {"log-linear", "power"}
    assert "lie on the frontier" in found["words"]


def test_growing_data_at_one_size_is_a_law_in_tokens(whole):
    found, folder = whole
    law = arm_of(found, "data")["laws"][0]
    branches = arm_of(found, "horizons")["laws"][0]

    assert (law["abscissa"], law["rung"], len(law["sizes"])) == ("tokens", f"n{SIZES[3]}", 5)
    assert law["held_out"]["predicted_before_training"] is False
    assert law["held_out"]["rung"] == "16,000,000 tokens"
    assert (folder / law["fits"]["power"]).is_file()
    assert law["summary"][1] == "More data is better in 4 of 4 steps."
    assert law["epochs"] == [1.0, 1.6]
    assert (branches["held_out"], len(branches["sizes"])) == (None, 2)


def test_metrics_are_described_in_every_ladder_with_what_is_at_chance_labelled(whole):
    found, _ = whole
    rows = {(row["arm"], row["metric"]): row for row in found["series"]}
    own = rows["fixed", BITS]

    assert len(rows) == 2 * 4
    assert rows["fixed", "winograd.accuracy"]["shape"] == "at chance"
    assert rows["fixed", "winograd.accuracy"]["curve"] is None
    assert rows["optimal", "quiz.accuracy"]["slope"] == pytest.approx(0.15)
    assert rows["optimal", "quiz.accuracy"]["better"] == "higher"
    assert rows["fixed", "quiz.matthews"]["r2"] is None
    assert own["slope"] == pytest.approx(found["line"]["slope"])
    assert own["held_out"]["predicted"] - own["held_out"]["observed"] == pytest.approx(own["held_out_error"])
    assert found["undirected"] == ["overlap.shared_train"]
    assert any(line.startswith("At chance: fixed winograd.accuracy") for line in found["speaks_against"])


def test_accuracy_is_predicted_through_the_tasks_own_bits_per_byte(tmp_path):
    others = {
        "cloze.bits_per_byte": lambda _n, _d, value: 0.8 * value,
        "cloze.accuracy": lambda _n, _d, value: 0.1 + 0.8 / (1 + math.exp(4 * (0.8 * value - 1.3))),
        "other.accuracy": lambda _n, _d, value: 0.1 + 0.7 / (1 + math.exp(5 * (value - 1.6))),
        "winograd.accuracy": lambda _n, _d, _value: 0.5,
    }
    study = plant([fixed()], Metrics(law=surface, others=others)).material(tmp_path)

    rows = {row["accuracy_metric"]: row for row in accuracy.rows(study, survey.rows(study))}

    cloze = rows["cloze.accuracy"]
    assert cloze["bits_metric"] == "cloze.bits_per_byte"
    assert cloze["low"] < cloze["observed"] < cloze["high"]
    assert cloze["predicted"] == pytest.approx(cloze["observed"], abs=0.03)
    assert rows["other.accuracy"]["bits_metric"] == BITS
    assert "stands in for it" in rows["other.accuracy"]["warnings"][0]
    assert rows["winograd.accuracy"]["predicted"] is None
    assert "at chance" in rows["winograd.accuracy"]["words"]


def test_an_accuracy_that_is_no_share_is_not_predicted_though_a_line_may_stand_in_for_the_sigmoid(tmp_path):
    others = {
        "straight.accuracy": lambda _n, _d, value: 0.02 + 0.3 * (value - 1.6),
        "sinking.accuracy": lambda _n, _d, value: max(0.0, 0.5 - 0.3 * math.exp(6 * (1.85 - value))),
    }
    study = plant([fixed()], Metrics(law=surface, others=others)).material(tmp_path)

    rows = {row["accuracy_metric"]: row for row in accuracy.rows(study, survey.rows(study))}

    straight, sinking = rows["straight.accuracy"], rows["sinking.accuracy"]
    assert straight["low"] < straight["observed"] < straight["high"]
    assert straight["words"].startswith("fixed: straight.accuracy through held_out.bits_per_byte: 0.067")
    assert "the search for the sigmoid did not converge" in straight["warnings"]
    assert sinking["predicted"] is None
    assert "not predicted: the sigmoid says -0.0" in sinking["words"]


def test_seeds_that_agree_on_a_few_hits_make_no_trend_of_them(tmp_path):
    """Three to five of 500, equal for all seeds of a size: the error over the passages is the noise."""
    others = {"few.accuracy": lambda n, _d, _value: 0.002 * round(3 + math.log10(n / SIZES[0]))}
    study = plant([fixed()], Metrics(law=surface, others=others)).material(tmp_path)
    asked = replace(study, points=tuple(replace(point, stderr=0.004) for point in study.points))

    (unasked_few,) = (row for row in survey.rows(study) if row["metric"] == "few.accuracy")
    few, bits = survey.rows(asked)

    assert unasked_few["shape"] != "no trend above the noise"
    assert (few["metric"], few["shape"]) == ("few.accuracy", "no trend above the noise")
    assert bits["noise"] < 0.004


def test_what_a_target_takes_is_each_law_turned_round(whole):
    found, _ = whole
    needed = {(row["arm"], row["form"]): row for row in found["target"]["needed"]}
    optimal, spent = needed["optimal", "offset-power"], needed[None, "hoffmann"]

    assert surface(optimal["params"], optimal["tokens"]) == pytest.approx(1.2, abs=0.03)
    assert optimal["low"] < optimal["params"] < optimal["high"]
    assert optimal["tokens"] == pytest.approx(20 * optimal["params"], rel=1e-3)
    assert optimal["flops"] == pytest.approx(6 * optimal["params"] * optimal["tokens"], rel=1e-3)
    assert surface(spent["params"], spent["tokens"]) == pytest.approx(1.2, abs=0.02)
    assert "tokens" in needed["data", "power"]["words"]


def test_a_target_below_the_floor_is_out_of_reach(tmp_path):
    study = plant([by_size()], Metrics(law=surface, noise=0.0005), target={"value": 0.5})

    needed = reach.target(study.material(tmp_path), None)["needed"]

    floor = next(row for row in needed if row["form"] == "offset-power")
    assert floor["params"] is None
    assert floor["words"].endswith("out of reach, however large.")


def test_a_rate_rule_that_holds_and_one_that_does_not(tmp_path):
    def judged(best):
        study = plant([fixed(), planted.check()], Metrics(law=straight, rate=valley(best)))
        return check.checked(study.material(tmp_path), Noise(value=0.005, source=""))

    good, bad = judged(1.0), judged(2.0)

    assert good["holds"] is True
    assert [size["rung"] for size in good["sizes"]] == [f"n{SIZES[0]}", f"n{SIZES[-1]}"]
    assert good["sizes"][0]["at_edge"] is False
    assert bad["holds"] is False
    assert bad["sizes"][0]["cost"] == pytest.approx(0.2 * math.log(2) ** 2, abs=0.03)
    assert "at the edge of the grid" in bad["words"]


def test_one_seed_and_a_metric_that_some_runs_lack_are_said_and_not_guessed(tmp_path):
    others = {"quiz.accuracy": lambda n, _d, _v: None if n == SIZES[2] else 0.1 * math.log10(n)}

    found = plant([fixed(seeds=(0,))], Metrics(law=straight, others=others)).judged(tmp_path)

    row = next(row for row in found["series"] if row["metric"] == "quiz.accuracy")
    assert len(row["values"]) == 6
    assert row["slope"] == pytest.approx(0.1)
    lost = f"n{SIZES[2]}-fixed-8000000-s0-x1"
    assert found["missing"] == [{"name": lost, "metric": "quiz.accuracy"}]
    assert f"Missing and left out: quiz.accuracy of {lost}." in found["summary"]
    assert found["noise"]["value"] is None
    assert found["held_out"]["error_in_noise"] is None
    assert found["line"]["seeds"] is None
    assert "The noise of a run is not known: no seed was repeated." in found["speaks_against"]
    assert "all points count the same" in found["weights"]


def test_an_arm_of_too_few_measured_sizes_says_what_there_is(tmp_path):
    study = plant([fixed(), by_size()], Metrics(law=surface))
    lost = study.without(lambda p: p.arm == "optimal" and p.params_non_embedding != SIZES[0])

    found = analysis.verdict(lost.points, lost.plan, tmp_path, lost.config)

    only = found["arms"][1]
    assert (only["fits"], only["choice"], only["line"], only["decades"]) == ({}, None, None, 0)
    assert only["summary"][0].startswith("1 size at ")
    assert next(row for row in found["series"] if row["arm"] == "optimal")["shape"] == "too few sizes: 1"
    assert any(line == f"Missing and left out: {BITS} of 12 runs." for line in found["speaks_against"])


def test_a_ladder_without_a_value_at_its_largest_size_has_no_held_out_point(tmp_path):
    study = plant([fixed(seeds=(0,)), by_size()], Metrics(law=surface))
    lost = study.without(lambda p: p.arm == "optimal" and p.params_non_embedding == SIZES[-1])

    optimal = lost.judged(tmp_path)["arms"][1]

    assert optimal["held_out"] is None
    assert not optimal["passed"]


def test_the_studys_own_metric_may_not_be_missing_in_the_main_arm(tmp_path):
    study = plant([fixed()], Metrics(law=straight))
    broken = study.without(lambda p: p.seed == 1 and p.params_non_embedding == SIZES[3])

    said = f"no value of {BITS} from n{SIZES[3]}-fixed-8000000-s1-x1; measured are {BITS}"
    with pytest.raises(StageError, match=said):
        broken.commit(tmp_path)
    with pytest.raises(StageError, match=said):
        analysis.verdict(broken.points, broken.plan, tmp_path, broken.config)
    assert not (tmp_path / "choice.json").exists()
