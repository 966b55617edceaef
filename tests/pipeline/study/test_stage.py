"""The study from plan to verdict, its jobs played by a stand-in."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, StageError
from pipeline.study import collect


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_a_ladder_ends_with_plan_points_fits_and_verdict(study):
    summary = study.run()

    assert "Larger is better in 4 of 4 steps" in summary
    names = {path.relative_to(study.out).as_posix() for path in study.out.rglob("*") if path.is_file()}
    assert {"plan.json", "points.csv", "verdict.json", "fits/choice.json", "fits/offset-power.json"} <= names


def test_the_prediction_is_on_disk_before_the_largest_starts_and_is_never_rewritten(study):
    study.run()
    choice = study.out / "fits" / "choice.json"
    before = choice.stat().st_mtime_ns
    largest = next((study.out / "runs").glob("w48-*"))

    assert choice.stat().st_mtime_ns < (largest / "config.yaml").stat().st_mtime_ns
    assert read(choice)["before_the_largest"] is True
    assert datetime.fromisoformat(read(choice)["written"]).tzinfo is not None

    (study.out / "verdict.json").unlink()
    study.run()
    assert choice.stat().st_mtime_ns == before


def test_a_prediction_made_after_the_largest_was_trained_does_not_count(study):
    study.run()
    (study.out / "fits" / "choice.json").unlink()
    (study.out / "verdict.json").unlink()

    study.run()

    verdict = read(study.out / "verdict.json")
    assert verdict["held_out"]["predicted_before_training"] is False
    assert verdict["passed"] is False


def test_a_finished_study_starts_no_job(study):
    study.run()
    jobs = len(study.jobs)

    assert study.run().startswith("finished already:")
    assert len(study.jobs) == jobs == 2 * 8


def test_rows_of_points_stand_in_for_runs_whose_directories_are_gone(study):
    study.run()
    (study.out / "verdict.json").unlink()
    for path in (study.out / "runs").iterdir():
        path.rename(study.out / f"gone-{path.name}")

    study.run()

    assert len(study.jobs) == 16


def test_a_study_killed_at_any_moment_goes_on_and_repeats_nothing_that_was_finished(study):
    for begun in (2, 5, 9):
        study.run_and_kill(begun)

    study.run()

    assert len(study.jobs) <= 16 + 3 * 2, "more was repeated than the two jobs under way at each kill"
    assert len(collect.read(study.out / "points.csv")) == 8 * 3


def test_a_failed_job_is_tried_again_and_counted(study, monkeypatch):
    monkeypatch.setenv("STAND_IN_FAIL", "w16-s1:1")

    study.run()

    assert list(read(study.out / "verdict.json")["failures"].values()) == [1]


def test_a_job_that_keeps_failing_is_named_with_the_end_of_its_log(study, monkeypatch):
    monkeypatch.setenv("STAND_IN_FAIL", "w16-s1:9")

    with pytest.raises(StageError, match="w16-s1.*\n.*out of luck"):
        study.run()

    assert not (study.out / "fits" / "choice.json").exists()
    monkeypatch.setenv("STAND_IN_FAIL", "w16-s1:0")
    assert study.run()


def test_a_changed_study_in_the_same_place_is_refused_with_the_difference(study):
    study.run()

    with pytest.raises(ConfigError, match=r"learning_rate.exponent: -1.0 -> -0.5"):
        study.run("learning_rate.exponent=-0.5")


def test_changed_execution_fields_are_accepted(study):
    study.run()

    assert study.run("processes=1", "train.log_every_steps=3")


def test_the_learning_rate_follows_the_rule_and_the_arithmetic_of_tokens_is_told(study):
    study.run()

    runs = {run["rung"]: run for run in read(study.out / "plan.json")["runs"]}
    assert runs["w8"]["lr"] == 0.04
    assert runs["w48"]["lr"] == 0.006667
    assert runs["w8"]["epochs"] == 640 / 500
    assert runs["w8"]["tokens_per_parameter"] == 640 / runs["w8"]["params_non_embedding"]


def test_a_time_budget_becomes_one_token_count_from_measured_speeds(study):
    study.run("tokens={count: null, seconds: 60}")

    plan = read(study.out / "plan.json")
    assert len({run["tokens"] for run in plan["runs"]}) == 1
    assert plan["measurements"]["w48"]["threads"] == 2
    assert plan["estimated_seconds"] <= 60
    slower = sum(run["estimated_seconds"] for run in plan["runs"])
    one_batch_more = 64 * sum(1 / one["tokens_per_second"] for one in plan["measurements"].values())
    assert slower + 2 * one_batch_more > plan["estimated_seconds"]


def test_a_budget_too_small_for_ten_steps_is_refused_with_the_reason(study):
    with pytest.raises(ConfigError, match=r"tokens.seconds: 0.1 s are too few"):
        study.run("tokens={count: null, seconds: 0.1}")


def test_too_few_sizes_are_refused_before_anything_is_done(study):
    with pytest.raises(ConfigError, match="rungs: 3 sizes are too few"):
        study.config("rungs=" + json.dumps(study.config().model_dump(mode="json")["rungs"][:3]))


def test_a_size_whose_heads_do_not_divide_its_width_is_named(study):
    from pipeline.study import stage

    rungs = study.config().model_dump(mode="json")["rungs"]
    rungs[2]["model"]["n_head"] = 5
    with pytest.raises(ConfigError, match=r"rungs.w24.*n_embd \(24\) must be a multiple of n_head \(5\)"):
        stage.plan(study.config("rungs=" + json.dumps(rungs)))


def test_a_sweep_gives_the_best_rate_of_each_width_and_warns_at_the_edge(study):
    arms = [{"name": f"x{factor}", "lr_factor": factor} for factor in (0.5, 1.0, 2.0)]
    rungs = study.config().model_dump(mode="json")["rungs"][:3]

    study.run(
        "arms=" + json.dumps(arms),
        "rungs=" + json.dumps(rungs),
        "evaluate=null",
        "metric=validation.bits_per_byte",
    )

    verdict = read(study.out / "verdict.json")
    assert [one["width"] for one in verdict["widths"]] == [8, 16, 24]
    assert len(verdict["warnings"]) == 3, "the stand-in does not care for the rate: the first is best"
