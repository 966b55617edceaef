"""A ladder whose runs are fine-tuned as well: planned, carried out, told and refused."""

import json
import statistics
from pathlib import Path

import pytest
import yaml

from pipeline.config import identity_hash, load
from pipeline.errors import ConfigError, StageError
from pipeline.report import page
from pipeline.stages import load_stage
from pipeline.study import collect, merit, plan, stage, status
from pipeline.study.config import decisive
from tests.pipeline.finetune.learnable import write
from tests.pipeline.study.conftest import Study, write_study
from tests.pipeline.study.in_process import Here
from tests.pipeline.train.conftest import dataset  # noqa: F401 - a fixture

RTE, SST2 = "finetune.rte.accuracy", "finetune.sst2.accuracy"


@pytest.fixture
def tuned(study: Study, dataset: Path, tmp_path: Path) -> Study:  # noqa: F811
    return with_datasets(study, dataset, tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Study:  # noqa: F811
    """A ladder with fine-tunings that has come to its end."""
    folder = tmp_path_factory.mktemp("tuned")
    with pytest.MonkeyPatch.context() as patch:
        found = with_datasets(write_study(folder), dataset, folder)
        patch.setenv("STAND_IN_DIARY", str(found.diary))
        found.run()
    return found


def with_datasets(study: Study, data: Path, folder: Path) -> Study:
    """Let the study's runs be fine-tuned on two datasets with two seeds."""
    for name in ("rte", "sst2"):
        write(folder / "labelled", name, 16)
    values = yaml.safe_load(study.path.read_text()) | {
        "data": str(data),
        "labelled": str(folder / "labelled"),
        "datasets": ["rte", "sst2"],
        "seeds": [0, 1],
        "finetune": {"epochs": 1, "batch_examples": 8, "engine": {"kind": "single", "device": "cpu"}},
    }
    study.path.write_text(yaml.safe_dump(values))
    return study


def jobs_of(study: Study, verb: str) -> list[str]:
    return [line.rpartition("/")[2] for line in study.jobs if line.startswith(f"{verb} ")]


def test_every_run_is_fine_tuned_on_every_dataset_and_its_means_are_points(finished: Study) -> None:
    runs = plan.read(finished.out / "plan.json").runs
    points = {(p.name, p.metric): p for p in collect.read(finished.out / "points.csv")}

    assert sorted(jobs_of(finished, "finetune")) == sorted(
        job.name for run in runs for job in run.finetunings
    )
    assert len(jobs_of(finished, "finetune")) == 2 * len(runs) == 16
    for run in runs:
        (folder,) = (finished.out / "finetuned").glob(f"{run.name}-rte-*")
        figure = json.loads((folder / "summary.json").read_text())["figures"][1]
        point = points[run.name, RTE]
        assert point.value == statistics.fmean(figure["values"].values())
        assert point.stderr == pytest.approx(0.01 / 2), "the scatter of two seeds, over the root of two"
        assert (run.name, "finetune.rte.train.accuracy") not in points


def test_fine_tunings_are_series_like_any_other_metric(finished: Study) -> None:
    verdict = json.loads((finished.out / "verdict.json").read_text())
    rows = {row["metric"]: row for row in verdict["series"]}

    assert rows[RTE]["better"] == "higher" and rows[RTE]["chance"] == 0.5271
    assert rows[RTE]["slope"] > 0 and rows[RTE]["wrong_steps"] == 0
    assert rows[SST2]["held_out"]["observed"] > rows[SST2]["values"][0]
    assert SST2 in page.write(finished.out).read_text()


def test_a_study_may_be_judged_by_a_fine_tuning(tuned: Study) -> None:
    tuned.run("evaluate=null", f"metric={RTE}", "better=higher", "datasets=[rte]", "seeds=[3]")

    choice = json.loads((tuned.out / "fits" / "choice.json").read_text())
    assert choice["metric"] == RTE and choice["before_the_largest"] is True
    points = [point for point in collect.read(tuned.out / "points.csv") if point.metric == RTE]
    assert len(points) == 8 and all(point.stderr is None for point in points), "one seed has no scatter"


def test_nothing_that_is_finished_is_done_again(finished: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_DIARY", str(finished.diary))
    before = len(finished.jobs)

    assert finished.run("labelled=elsewhere").startswith("finished already:")
    assert len(finished.jobs) == before == 8 * 4


def test_what_fails_is_tried_again_counted_told_and_taken_up(
    tuned: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_FAIL", "finetune w16-s1:2")
    with pytest.raises(StageError, match="finetuned-w16-s1-.*-rte-.*\n.*out of luck"):
        tuned.run()
    broken = next(line for line in status.lines(tuned.out) if line.startswith("w16-s1-"))
    assert broken.endswith("trained, fine-tuned on 0 of 2, failed 2 times")
    assert "still" in status.lines(tuned.out)[-1]
    done = len(jobs_of(tuned, "finetune"))
    monkeypatch.delenv("STAND_IN_FAIL")

    tuned.run()

    again = [name.rpartition("-")[0] for name in jobs_of(tuned, "finetune")[done:]]
    runs = {
        run.rung: run.name for run in plan.read(tuned.out / "plan.json").runs if run.rung in ("w16", "w48")
    }
    assert again == [f"{runs[rung]}-{name}" for rung in ("w16", "w48") for name in ("rte", "sst2")]
    assert len(jobs_of(tuned, "train")) == 8, "no run is trained again"
    assert 2 in json.loads((tuned.out / "verdict.json").read_text())["failures"].values()


def test_the_plan_tells_steps_and_hours_before_anything_is_done(tuned: Study) -> None:
    speeds = "hardware={name: a desk, speeds: [[1000, 90000], [1000000, 900]], overhead_seconds: 2}"
    without, with_them = (
        tuned.config(speeds, "datasets=[]"),
        tuned.config(speeds),
    )
    steps = 8 * 2 * 2  # runs, seeds, batches

    told = stage.describe(with_them, stage.plan(with_them)).splitlines()

    rte = next(
        line for line in told if line.startswith("fine-tuning on rte (accuracy): 8 runs with 2 seeds each, ")
    )
    assert f"{steps} steps, about " in rte and " FLOPs, " in rte and rte.endswith(" s of the machine")
    totals = [seconds_of(stage.describe(each, stage.plan(each))) for each in (without, with_them)]
    assert totals[1] >= totals[0] + 8 * 2 * 2 / 2, "two more starts for each run, two side by side"
    assert not tuned.out.exists()


def seconds_of(told: str) -> float:
    """Return the seconds that the last line but those of epochs gives for all."""
    line = next(line for line in told.splitlines() if " side by side with " in line)
    return float(line.partition(", about ")[2].partition(" s on")[0])


def test_a_dataset_that_is_not_there_is_told_and_refused_before_anything_starts(tuned: Study) -> None:
    config = tuned.config("labelled=elsewhere")

    assert "not there yet: RTE, train: not below elsewhere" in stage.describe(config, stage.plan(config))
    with pytest.raises(ConfigError, match="RTE, train: not below elsewhere"):
        tuned.run("labelled=elsewhere")
    assert not tuned.jobs


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["datasets=[rte, rte]"], "datasets: given twice: rte"),
        (["datasets"], "datasets: missing; finetune and seeds are of fine-tunings"),
        (["metric=finetune.cola.matthews"], "needs fine-tunings on cola; add it to datasets"),
        (["tokens={count: null, seconds: 60}"], "seconds do not count fine-tunings"),
        (["datasets=[sst3]"], "did you mean sst2"),
        (["finetune.epoch=3"], "epoch: unknown key .did you mean epochs"),
        (["finetune.epochs=0"], "epochs: input should be greater than or equal to 1"),
    ],
)
def test_mistakes_are_named_before_anything_starts(tuned: Study, overrides: list[str], said: str) -> None:
    values = yaml.safe_load(tuned.path.read_text())
    values["train"]["train_tokens"] = 64
    del values["evaluate"]
    values["metric"] = "validation.bits_per_byte"
    for key in [override for override in overrides if override in values]:
        del values[key]
    tuned.path.write_text(yaml.safe_dump(values))

    with pytest.raises(ConfigError, match=said):
        load_stage("study", tuned.path, [override for override in overrides if "=" in override])


def test_fine_tunings_change_no_run_and_their_absence_no_study(tuned: Study) -> None:
    config, bare = (
        tuned.config(),
        tuned.config("datasets=[]", "labelled=null"),
    )
    elsewhere = tuned.config("finetune.engine.threads=1", "finetune.checkpoint=runs/other", "labelled=null")

    assert not {"finetune", "datasets", "seeds", "labelled"} & set(decisive(bare))
    assert identity_hash(decisive(config)) == identity_hash(decisive(elsewhere))
    assert identity_hash(decisive(config)) != identity_hash(decisive(bare))

    tuned.run("datasets=[]")
    path = tuned.out / "plan.json"
    values = json.loads(path.read_text())
    for run in values["runs"]:
        assert run.pop("finetunings") == []
    path.write_text(json.dumps(values))  # as those wrote it who knew of no fine-tunings
    (tuned.out / "verdict.json").unlink()
    before = len(tuned.jobs)

    assert tuned.run("datasets=[]")
    assert len(tuned.jobs) == before
    with pytest.raises(ConfigError, match="finetune, datasets, seeds may not change"):
        tuned.run()


@pytest.mark.parametrize(
    ("metric", "better", "chance"),
    [
        ("finetune.cola.matthews", "higher", 0.0),
        ("finetune.stsb.pearson", "higher", 0.0),
        ("finetune.mrpc.f1", "higher", 0.8122),
        ("finetune.mrpc.accuracy", "higher", 0.6838),
        ("finetune.mnli.accuracy_mean", "higher", 0.3545),
        ("finetune.squad.f1", "higher", None),
        ("finetune.rte.loss", "lower", None),
    ],
)
def test_direction_and_chance_of_fine_tunings_are_known(
    metric: str, better: str, chance: float | None
) -> None:
    assert (merit.better(metric), merit.chance(metric)) == (better, chance)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_small_ladder_is_trained_and_fine_tuned_for_real(tuned: Study) -> None:
    values = yaml.safe_load(tuned.path.read_text())
    values["train"]["model"] = {"n_ctx": 32, "vocab_size": 300}
    values["train"]["engine"] = {"kind": "single", "device": "cpu", "threads": 1}
    values["rungs"] = [
        {"name": f"w{w}", "model": {"n_layer": 1, "n_head": 2, "n_embd": w}, "seeds": [0]}
        for w in (8, 16, 24, 32)
    ]
    values |= {"evaluate": None, "metric": "validation.bits_per_byte", "datasets": ["rte"]}
    tuned.path.write_text(yaml.safe_dump(values))
    config, here = load(stage.Config, tuned.path), Here()

    stage.run(config, stage.plan(config), lambda _: here)

    points = [point for point in collect.read(tuned.out / "points.csv") if point.metric == RTE]
    assert len(points) == 4 and all(0 <= (point.value or -1) <= 1 for point in points)
    assert all(point.stderr is not None for point in points)
    assert "accuracy (finetune.rte)" in page.write(tuned.out).read_text()
    started = len(here.started)
    assert started == 4 * 2
    assert stage.run(config, stage.plan(config), lambda _: here).startswith("finished already:")
    assert len(here.started) == started
