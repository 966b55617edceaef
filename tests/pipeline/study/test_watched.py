"""Figure 2 of GPT-1's paper, right, as a study: checkpoints that are kept, put to its heuristics for real."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml

from model import tokenizer as tokenizers
from pipeline import show
from pipeline.config import load
from pipeline.errors import ConfigError, StageError
from pipeline.formats.results import Results
from pipeline.report import page
from pipeline.stages import load_stage
from pipeline.study import stage
from tests.pipeline.evaluate.invented import INVENTED
from tests.pipeline.finetune.learnable import pretrained
from tests.pipeline.study.in_process import Here
from tests.pipeline.study.test_comparison import with_trials
from tests.pipeline.study.test_queue import Arrays
from tests.pipeline.train.conftest import dataset  # noqa: F401 - a fixture

TASKS = ["sst2_very", "cola_log_prob", "race_log_prob", "winograd"]
GPT = {"name": "gpt", "train": {}, "paper": "GPT-1"}
LSTM = {
    "name": "lstm",
    "train": {"model": {"architecture": "lstm", "n_head": 1, "n_hidden": 24}},
    "paper": "LSTM",
}


def written(folder: Path, data: Path) -> Path:
    """Write a study of two networks that keep two checkpoints each."""
    values = {
        "out": str(folder / "study"),
        "data": str(data),
        "labelled": str(folder / "sets"),
        "train": {
            "model": {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_ctx": 48, "vocab_size": 300},
            "optim": {"lr": 0.01},
            "global_batch_tokens": 96,
            "train_tokens": 4 * 96,
            "engine": {"kind": "single", "device": "cpu", "threads": 1},
            "checkpoint": {"every_steps": 2, "keep": 1, "keep_every_steps": 2},
        },
        # What an evaluation of its own would need is the study's to say.
        "evaluate": {
            "suite": "heuristics", "watch": "nowhere", "data": "nowhere", "tasks": TASKS, "device": "cpu",
        },
        "trials": [GPT, LSTM],
    }  # fmt: skip
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory, dataset) -> Path:  # noqa: F811
    """The file of a study that has come to its end."""
    folder = tmp_path_factory.mktemp("finished")
    for task in TASKS:
        sets(folder / "sets", task)
    path, here = written(folder, dataset), Here()
    config = load(stage.Config, path)
    told = stage.run(config, stage.plan(config), lambda _: here)
    (folder / "told.txt").write_text(told)
    (folder / "started.txt").write_text("\n".join(here.started))
    return path


@pytest.fixture
def path(tmp_path, dataset, finished) -> Path:  # noqa: F811
    """The same study in a place of its own."""
    shutil.copytree(finished.parent, tmp_path, dirs_exist_ok=True)
    return written(tmp_path, dataset)


@pytest.fixture
def trained(path) -> Path:
    """The same study, of which only the trainings are finished."""
    shutil.rmtree(path.parent / "study" / "evaluated")
    return path


def sets(folder: Path, task: str) -> None:
    for name, text in INVENTED[task].files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def content_of(path: Path) -> dict:
    return json.loads((path.parent / "study" / "comparison.json").read_text())


def test_every_checkpoint_that_is_kept_is_a_point_of_every_task(finished):
    out = finished.parent / "study"
    told = (finished.parent / "told.txt").read_text()
    started = (finished.parent / "started.txt").read_text().splitlines()
    found = content_of(finished)

    drawn = [point for point in found["zero_shot"] if point["normalised"] is not None]
    assert len(started) == 4, "two trainings, and one evaluation behind each"
    assert {(point["trial"], point["step"], point["task"]) for point in drawn} == {
        (trial, step, task) for trial in ("gpt", "lstm") for step in (2, 4) for task in TASKS
    }
    race = next(point for point in drawn if point["task"] == "race_log_prob")
    assert race["normalised"] == pytest.approx((race["value"] - 0.25) / (0.533 - 0.25))
    assert race["normalised_error"] == pytest.approx(race["stderr"] / (0.533 - 0.25))
    assert "gpt without fine-tuning, after 4 steps: sentiment analysis" in told
    assert "0 is what guessing scores" in found["summary"][-1]
    assert not (out / "comparison.csv").exists()
    rows = list(csv.DictReader((out / "zero-shot.csv").read_text().splitlines()))
    assert len(rows) == len(found["zero_shot"]) > len(drawn)


def test_the_points_are_those_of_the_files_of_results(finished):
    files = sorted((finished.parent / "study" / "evaluated").glob("lstm-*/step-*/heuristics.json"))
    for file, step in zip(files, (2, 4), strict=True):
        of_file = {(each.task, each.metric): each.value for each in Results.read(file).results}
        points = [p for p in content_of(finished)["zero_shot"] if (p["trial"], p["step"]) == ("lstm", step)]
        assert {(p["task"], p["metric"]): p["value"] for p in points} == of_file


def test_the_report_has_the_course_the_table_and_the_papers_ends(path):
    text = page.write(path.parent / "study").read_text()

    assert "Without fine-tuning, as pre-training goes on" in text
    assert "zero-shot-wide" in text and "lstm, 4 steps" in text
    assert "paper: LSTM, 1,000,000 steps" in text
    assert "Trials side by side" not in text, "nothing was fine-tuned"


def test_what_is_finished_is_not_done_again_and_other_questions_need_no_training(run, here, path):
    run()
    assert here.started == []

    assert "2 checkpoints evaluated" in show.status(path.parent / "study")

    run("evaluate.limit=1", "evaluate.tasks=[sst2_very]")
    assert [name.partition("-")[0] for name in here.started] == ["evaluated", "evaluated"]


def test_an_evaluation_that_failed_goes_on_behind_the_finished_training(trained, run, here):
    here.failing["evaluated-gpt"] = 2

    with pytest.raises(StageError, match="evaluated-gpt.*\n.*out of luck"):
        run()
    done = len(here.started)
    run()

    assert len(here.started) == done + 1
    assert list(content_of(trained)["failures"].values()) == [2]


def test_a_missing_set_is_told_and_asked_for_again_when_it_is_there(trained, run, here):
    winograd = trained.parent / "sets" / "WSCollection.xml"
    winograd.rename(trained.parent / "aside.xml")

    assert "Not done: winograd: Winograd Schema Challenge: not below" in run()
    assert not any(point["task"] == "winograd" for point in content_of(trained)["zero_shot"])
    before = len(here.started)

    (trained.parent / "aside.xml").rename(winograd)
    assert "Winograd schema resolution" in run()
    assert len(here.started) == before + 2


def test_runs_that_others_trained_are_evaluated_without_training(run, here, path):
    runs = sorted((path.parent / "study" / "runs").iterdir())
    others = [{"name": f"n{number}", "checkpoint": str(run)} for number, run in enumerate(runs)]

    told = run(with_trials(path, others), f"out={path.parent / 'other'}", "data=null")

    assert [name.partition("-")[0] for name in here.started] == ["evaluated", "evaluated"]
    assert "n1 without fine-tuning, after 4 steps" in told
    assert not any((each / "results").exists() for each in runs), "another's run is not written to"


def test_equal_trainings_are_evaluated_once(path):
    config = load(stage.Config, path, [with_trials(path, [GPT, {"name": "again", "train": {}}])])

    assert [job.trial for job in stage.plan(config).watched] == ["gpt"]


def test_the_plan_tells_how_many_checkpoints_will_be_evaluated_and_a_queue_is_shown_the_jobs(trained):
    config = load(stage.Config, trained)
    plan = stage.plan(config)

    assert "2 checkpoints, without fine-tuning" in stage.describe(config, plan)
    assert "2 trainings and the evaluation of 2 runs, whose FLOPs are not counted" in stage.describe(
        config, plan
    )
    assert stage.script(config, plan, Arrays()).startswith("evaluated-gpt-heuristics-")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["train.checkpoint.keep_every_steps=null"], "gpt.train: checkpoint.keep_every_steps missing"),
        (["evaluate=null"], "datasets: none, and no evaluate"),
        (["evaluate.tasks=[sst3_very]"], "did you mean sst2_very"),
        (["evaluate.lmit=1"], "unknown key .did you mean limit"),
    ],
)
def test_mistakes_are_named(path, overrides, said):
    with pytest.raises(ConfigError, match=said):
        stage.plan(load_stage("study", path, overrides)[1])


def test_a_network_that_reads_from_both_sides_cannot_be_asked(path):
    masked = {"name": "both", "train": {"objective": "masked", "model": {"causal": False, "vocab_size": 304}}}

    with pytest.raises(ConfigError, match="trials.both: reads from both sides"):
        stage.plan(load(stage.Config, path, [with_trials(path, [GPT, masked])]))


def test_a_folder_of_weights_has_no_course(path, dataset):  # noqa: F811
    weights = pretrained(path.parent / "weights", tokenizers.load(dataset))
    chosen = [GPT, {"name": "other", "checkpoint": str(weights)}]

    with pytest.raises(ConfigError, match="is no run, whose checkpoints"):
        stage.plan(load(stage.Config, path, [with_trials(path, chosen)]))
