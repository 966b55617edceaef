"""A comparison from plan to table, with small networks that are trained and fine-tuned for real."""

import csv
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from pipeline.config import load
from pipeline.errors import ConfigError, FormatError, StageError
from pipeline.report import page
from pipeline.study import stage, trials
from tests.pipeline.finetune.conftest import tokenizer  # noqa: F401 - a fixture
from tests.pipeline.finetune.learnable import pretrained, write
from tests.pipeline.study.test_queue import Arrays
from tests.pipeline.train.conftest import dataset  # noqa: F401 - a fixture


@pytest.fixture
def path(tmp_path, dataset) -> Path:  # noqa: F811
    """The file of a comparison of a network that is trained with one without pre-training."""
    for name in ("rte", "sst2"):
        write(tmp_path / "labelled", name, 16)
    values = {
        "out": str(tmp_path / "study"),
        "data": str(dataset),
        "labelled": str(tmp_path / "labelled"),
        "train": {
            "model": {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_ctx": 32, "vocab_size": 300},
            "optim": {"lr": 0.01},
            "global_batch_tokens": 64,
            "train_tokens": 128,
            "engine": {"kind": "single", "device": "cpu", "threads": 1},
        },
        "finetune": {"epochs": 1, "batch_examples": 8, "engine": {"kind": "single", "device": "cpu"}},
        "datasets": ["rte", "sst2"],
        "seeds": [0, 1],
        "trials": [
            {"name": "plain", "train": {}},
            {"name": "none", "train": {}, "finetune": {"transferred_layers": -1}, "paper": "no pre-training"},
        ],
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def with_trials(path: Path, changed: Sequence[dict]) -> str:
    return f"trials={json.dumps(list(changed))}"


def rows_of(path: Path) -> list[dict[str, str]]:
    text = (path.parent / "study" / "comparison.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def trials_of(path: Path) -> list[dict]:
    return yaml.safe_load(path.read_text())["trials"]


def test_a_comparison_ends_with_a_table_of_medians_and_what_it_says(run, here, path):
    told = run()

    out = path.parent / "study"
    found = json.loads((out / "comparison.json").read_text())
    rows = rows_of(path)
    main = [row for row in rows if row["main"] == "True"]
    assert "rte accuracy" in told
    assert "none beside plain" in told
    assert [(row["trial"], row["dataset"]) for row in main] == [
        ("plain", "rte"), ("plain", "sst2"), ("none", "rte"), ("none", "sst2"),
    ]  # fmt: skip
    assert main[2]["paper"] == "0.538"
    assert [bool(row["difference"]) for row in main] == [False, False, True, True]
    assert all(len(cell["values"]) == 2 for cell in found["cells"])
    assert found["failures"] == {}
    page.write(out)
    assert (out / "figures" / "trials.svg").is_file()
    assert len(here.started) == 1 + 4, "equal trainings are done once"


def test_the_best_seeds_predictions_for_test_sets_are_bundled_for_glues_server(run, path):
    test = path.parent / "labelled" / "RTE" / "test.tsv"
    test.write_text("index\tsentence1\tsentence2\n0\tAnn rows.\tBob sleeps.\n1\tRain.\tWet hills.\n")

    run()

    out = path.parent / "study"
    (row,) = [
        row
        for row in rows_of(path)
        if (row["trial"], row["dataset"]) == ("none", "rte") and row["main"] == "True"
    ]
    values = dict(pair.split(":") for pair in row["values"].split())
    best = max(values, key=lambda seed: float(values[seed]))
    (predictions,) = out.glob(f"finetuned/none-rte-*/seed-{best}/results/*/submission/RTE.tsv")
    with zipfile.ZipFile(out / "submissions" / "none.zip") as file:
        assert file.namelist() == ["RTE.tsv"] and file.read("RTE.tsv") == predictions.read_bytes()


def test_what_is_finished_is_not_done_again_and_what_joins_is_added(run, here, path):
    run()
    before = len(here.started)

    run()
    assert len(here.started) == before

    more = [*trials_of(path), {"name": "bare", "train": {}, "finetune": {"language_model_weight": 0.0}}]
    run(with_trials(path, more))
    assert sorted(name.rpartition("-")[0] for name in here.started[before:]) == [
        "finetuned-bare-rte",
        "finetuned-bare-sst2",
    ]

    run("seeds=[0, 1, 2]")
    assert len(here.started) == before + 2 + 4
    assert all(row["values"].count(":") == 3 for row in rows_of(path))


def test_a_failed_job_is_tried_again_and_counted(run, here, path):
    here.failing["finetuned-none-rte"] = 1

    run()

    failures = json.loads((path.parent / "study" / "comparison.json").read_text())["failures"]
    assert list(failures.values()) == [1]


def test_a_job_that_keeps_failing_is_named_and_the_next_start_goes_on(run, here, path):
    here.failing["finetuned-none-rte"] = 2

    with pytest.raises(StageError, match="finetuned-none-rte.*\n.*out of luck"):
        run()
    assert not (path.parent / "study" / "comparison.json").exists()
    done = len(here.started)

    run()
    assert len(here.started) == done + 1


def test_networks_of_other_kinds_are_trained_and_compared(run, path):
    masked = {"objective": "masked", "model": {"causal": False, "vocab_size": 304}}
    lstm = {"model": {"architecture": "lstm", "n_head": 1, "n_hidden": 24}}

    told = run(
        with_trials(
            path,
            [
                {"name": "plain", "train": {}},
                {"name": "masked", "train": masked},
                {"name": "lstm", "train": lstm},
            ],
        ),
        "datasets=[sst2]",
        "seeds=[0]",
    )

    assert "masked beside plain" in told
    assert "lstm beside plain" in told


def test_checkpoints_of_others_are_compared_by_layers_with_a_line(run, here, path, tmp_path, tokenizer):  # noqa: F811
    network = pretrained(tmp_path / "network", tokenizer)
    chosen = [
        {"name": f"n{layers}", "checkpoint": str(network), "finetune": {"transferred_layers": layers}}
        for layers in (2, -1, 0)
    ]

    run(with_trials(path, chosen), "datasets=[rte]", "seeds=[0]", "data=null")

    page.write(tmp_path / "study")
    figures = {file.name for file in (tmp_path / "study" / "figures").iterdir()}
    assert {"transferred-layers.svg", "transferred-layers.csv"} <= figures
    assert len(here.started) == 3


def test_the_plan_counts_steps_tokens_and_flops_before_anything_is_done(path, tmp_path):
    config = load(stage.Config, path, ["flops_per_second=1e9"])

    told = stage.describe(config, stage.plan(config))

    assert isinstance(config, trials.Config)
    assert "1 trainings and 4 fine-tunings of 2 seeds" in told
    job = next(job for job in stage.plan(config).finetunings if job.dataset == "rte")
    assert job.steps == 2 * 2, "two seeds, one epoch of 16 examples by 8"
    assert 2 * 16 * 5 < job.tokens <= 2 * 16 * 32
    assert " h by the speed that was measured" in told
    assert not (tmp_path / "study").exists()


def test_a_queue_is_shown_the_jobs_that_can_start(path, run):
    config = load(stage.Config, path)

    assert stage.script(config, stage.plan(config), Arrays()).startswith("runs-plain-s0-")
    run()
    assert "no job would be submitted" in stage.script(config, stage.plan(config), Arrays())


def test_what_is_missing_is_told_in_the_plan_and_refused_by_the_run(path, run):
    absent = [{"name": "a", "checkpoint": "nowhere"}, {"name": "b", "train": {}}]
    overrides = [with_trials(path, absent), "labelled=elsewhere"]
    config = load(stage.Config, path, overrides)

    told = stage.describe(config, stage.plan(config))

    assert "not there yet: checkpoint: nowhere does not exist" in told
    assert "not there yet: RTE, train: not below elsewhere" in told
    with pytest.raises(ConfigError, match="nowhere does not exist"):
        run(*overrides)


def test_fine_tunings_that_started_from_different_weights_are_not_compared(run, path):
    run()
    summary = next((path.parent / "study" / "finetuned").glob("none-rte-*/summary.json"))
    content = json.loads(summary.read_text())
    content["inputs"]["weights"] = "others"
    summary.write_text(json.dumps(content))

    with pytest.raises(FormatError, match="none started from different weights"):
        run()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trials=[{name: a, train: {}}]"], "trials"),
        (["trials=[{name: a, train: {}}, {name: a, train: {}}]"], "trials: given twice: a"),
        (["trials=[{name: a, train: {}}, {name: b}]"], "give either checkpoint"),
        (["trials=[{name: a, train: {}}, {name: b, train: {}, finetune: {seeds: [1]}}]"], "seeds is for the"),
        (["data=null"], "data: missing"),
        (["datasets=[sst3]"], "did you mean sst2"),
        (["seeds=[1, 1]"], "seeds: given twice: 1"),
        (["trails=1"], "unknown key .did you mean trials"),
        (["train={}"], "trials.plain.train: model, optim, global_batch_tokens, train_tokens missing"),
    ],
)
def test_mistakes_in_a_comparison_are_named(path, overrides, said):
    text = path.read_text()
    if overrides == ["train={}"]:
        values = yaml.safe_load(text)
        path.write_text(yaml.safe_dump({**values, "train": {}}))
        overrides = []

    with pytest.raises(ConfigError, match=said):
        stage.plan(load(stage.Config, path, overrides))
