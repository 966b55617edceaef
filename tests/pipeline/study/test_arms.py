"""A study of every kind of arm from plan to verdict, its jobs played by a stand-in."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import cli
from pipeline.errors import ConfigError
from pipeline.study import collect, plan, stage, status
from tests.pipeline.study.conftest import Study, write_study

ARMS = [
    {"name": "fixed", "tokens": {"count": 6400}},
    {"name": "optimal", "tokens": {"per_parameter": 0.2}},
    {"name": "isoflop", "rungs": ["d1", "d2", "d3", "d4"], "tokens": {"flops": [1e9, 3e9]}},
    {"name": "data", "rungs": ["d2"], "tokens": {"counts": [1600, 3200, 6400, 12_800, 25_600]}},
    {"name": "horizons", "rungs": ["d3"], "tokens": {"branches": [1280, 2560], "decay_fraction": 0.2}},
]
RUNS = 7 + 7 + 2 * 6 + 2 * 4 + 2 * 2 + 2 * 2
"""Of these arms and the check; one of each seed of `data` is trained in `fixed` already."""

FIRST = ("arms=" + json.dumps(ARMS[:1]), "check=null")


@pytest.fixture
def arms(study: Study) -> Study:
    return with_arms(study)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of all arms that has come to its end."""
    with pytest.MonkeyPatch.context() as patch:
        arms = with_arms(write_study(tmp_path_factory.mktemp("finished")))
        patch.setenv("STAND_IN_DIARY", str(arms.diary))
        arms.run()
    return arms


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of the first arm alone that has come to its end."""
    with pytest.MonkeyPatch.context() as patch:
        first = with_arms(write_study(tmp_path_factory.mktemp("predicted")))
        patch.setenv("STAND_IN_DIARY", str(first.diary))
        first.run(*FIRST)
    return first


def with_arms(study: Study) -> Study:
    """Give the study arms and a check instead of a list of sizes and one number of tokens."""
    values = yaml.safe_load(study.path.read_text())
    del values["rungs"], values["tokens"]
    depths = {"depths": [1, 2, 3, 4, 5], "aspect": 8, "head_size": 8, "seeds": [0, 1]}
    values |= {"dial": {**depths, "repeated_below": 10_000}, "arms": ARMS, "check": {"factors": [0.5, 1, 2]}}
    study.path.write_text(yaml.safe_dump(values))
    return study


def written(path: Path) -> int:
    return path.stat().st_mtime_ns


def trained(study: Study) -> list[str]:
    """Return the runs in the order in which their trainings started."""
    return [line.rpartition("/")[2] for line in study.jobs if line.startswith("train ")]


def planned(study: Study) -> plan.Plan:
    return plan.read(study.out / "plan.json")


def points(study: Study) -> Mapping[str, collect.Point]:
    """Return the points of the study's own metric by the name of their run."""
    found = collect.read(study.out / "points.csv")
    return {point.name: point for point in found if point.metric == "held_out.bits_per_byte"}


def verdict(study: Study) -> dict[str, Any]:
    return json.loads((study.out / "verdict.json").read_text())


def test_every_arm_is_trained_once_and_has_its_say(finished: Study) -> None:
    told, runs = verdict(finished), planned(finished).runs

    assert len(trained(finished)) == len(set(trained(finished))) == len(runs) == RUNS
    assert [arm["name"] for arm in told["arms"]] == [*(arm["name"] for arm in ARMS), "check"]
    assert set(points(finished)) == {run.name for run in runs if not run.is_trunk}
    assert told["check"]["holds"] is True, "the stand-in does not care for the rate"
    assert told["surface"]["form"] and len(told["frontier"]) == 4
    assert len(told["arms"][3]["laws"][0]["sizes"]) == 5, "the one that `fixed` trained among them"
    assert any(line.startswith("Arm optimal (0.2 tokens for each non-emb") for line in told["summary"])


def test_each_ladder_predicts_its_largest_before_any_arm_trains_that_size(finished: Study) -> None:
    fits, runs = finished.out / "fits", {run.name: run for run in planned(finished).runs}
    for name, ladder in (("choice.json", "fixed"), ("optimal-choice.json", "optimal")):
        choice = json.loads((fits / name).read_text())
        assert choice["before_the_largest"] is True
        begun = [finished.out / "runs" / run.name for run in runs.values() if ladder in run.awaits]
        assert len(begun) == 1 + 2, "the ladder's own, and two at other rates"
        assert all(written(fits / name) < written(run / "config.yaml") for run in begun)


def test_branches_go_on_from_the_trunk_of_their_own_size_and_seed(finished: Study) -> None:
    order, runs = trained(finished), {run.name: run for run in planned(finished).runs}
    branched = [run for run in runs.values() if run.parent]
    assert len(branched) == 3
    for run in branched:
        assert order.index(run.parent) < order.index(run.name)
        config = yaml.safe_load((finished.out / "configs" / f"runs-{run.name}-train.yaml").read_text())
        assert config["init"] == {"what": "state", "checkpoint": str(finished.out / "runs" / run.parent)}
        assert (runs[run.parent].rung, runs[run.parent].seed) == (run.rung, run.seed)
    trunk = next(run for run in runs.values() if run.is_trunk)
    assert not list((finished.out / "runs" / trunk.name).glob("results/*")), "a trunk is no result"


@pytest.mark.slow
def test_arms_that_are_killed_at_any_moment_go_on_and_repeat_nothing(arms: Study) -> None:
    for begun in (3, 17, 30):
        arms.run_and_kill(begun)
    before = points(arms)

    arms.run()  # and to its end in threads

    runs = planned(arms).runs
    wanted = sum(1 if run.is_trunk else 2 for run in runs)
    assert wanted <= len(arms.jobs) <= wanted + 3 * 2, "more was repeated than what ran at each kill"
    assert before and points(arms) == points(arms) | before


def test_a_finished_study_grows_by_an_arm_and_trains_only_that(arms: Study) -> None:
    arms.run(*FIRST)
    choice, done = written(arms.out / "fits" / "choice.json"), trained(arms)

    arms.run("arms=" + json.dumps(ARMS[:2]), "check=null")

    new = trained(arms)[len(done) :]
    assert len(done) == len(new) == 7 and all("-optimal-" in name for name in new)
    assert written(arms.out / "fits" / "choice.json") == choice
    assert [arm["name"] for arm in verdict(arms)["arms"]] == ["fixed", "optimal"]


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["better=higher"], r"better may not change"),
        (["arms=" + json.dumps(ARMS[1:2])], r"7 of its 7 runs are asked for no longer"),
        (["dial.depths=[1,2,3,4,5,6]"], r"the largest size of fixed was predicted already"),
        (
            ["arms=" + json.dumps([ARMS[1], ARMS[0]])],
            r"another arm comes first, by which it would be judged",
        ),
    ],
)
def test_what_would_make_a_prediction_void_is_refused(arms: Study, overrides: list[str], reason: str) -> None:
    arms.run(*FIRST)

    with pytest.raises(ConfigError, match=reason):
        arms.run("arms=" + json.dumps(ARMS[:1]), "check=null", *overrides)


def test_a_table_tells_what_is_done_what_waits_and_what_was_predicted(arms: Study) -> None:
    arms.run(*FIRST)
    kept = collect.read(arms.out / "points.csv")
    largest = next(run for run in planned(arms).runs if run.is_largest)
    lost = next(run for run in planned(arms).runs if run.rung == "d1" and run.seed == 1)
    for run in (largest, lost):
        (arms.out / "runs" / run.name).rename(arms.out / f"gone-{run.name}")
    gone = {largest.config_hash, lost.config_hash}
    collect.write(arms.out / "points.csv", [point for point in kept if point.config_hash not in gone])

    told = {line.split()[0]: line for line in status.lines(arms.out)}

    assert told[lost.name].endswith("to be trained")
    assert told[largest.name].endswith("waits for the prediction")
    others = [run.name for run in planned(arms).points if run.config_hash not in gone]
    assert all(told[name].endswith("done") for name in others)
    assert "predicted" in told and "by the" in told["predicted"]
    assert f"{len(planned(arms).runs) - 2} of" in status.lines(arms.out)[-1]
    assert "still" in status.lines(arms.out)[-1]


def test_a_plan_is_told_without_a_dataset_and_with_one(arms: Study) -> None:
    speeds = "hardware={name: a desk, speeds: [[1000, 90000], [1000000, 900]], overhead_seconds: 2}"
    absent = arms.config("data=nowhere", speeds, "price_per_hour=0.5")
    there = arms.config("max_epochs=1000")

    without = stage.describe(absent, stage.plan(absent))
    told = stage.describe(there, stage.plan(there))

    assert "on a desk, " in without and "at 0.5 an hour" in without
    assert without.splitlines()[-1].startswith("nowhere: no dataset is there yet")
    assert "arm fixed (fixed tokens: 6,400 tokens at every size; its largest is predicted)" in told
    assert f"{RUNS} runs, " in told and "(6N_matmul + 6LdT)" in told
    assert "runs see the 500 training tokens repeatedly" in told
    assert not arms.out.exists()


def test_the_command_for_plans_takes_a_study(arms: Study, capsys: pytest.CaptureFixture[str]) -> None:
    cli.plan(arms.path, [])

    assert "arm optimal (tokens per parameter: 0.2 tokens for each" in capsys.readouterr().out
