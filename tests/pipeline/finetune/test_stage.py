"""Fine-tuning as a whole: what it learns, how it goes on, and what it leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from model.weights import load_network
from model.weights_headed import load_headed
from pipeline.config import validate
from pipeline.errors import ConfigError
from pipeline.finetune import stage
from pipeline.finetune.stage import Config
from pipeline.formats.results import read_records
from pipeline.formats.run import Run
from pipeline.formats.summary import Summary
from tests.pipeline.finetune.learnable import KINDS, pretrained, write


@pytest.fixture(scope="module")
def network(tmp_path_factory, tokenizer) -> Path:
    return pretrained(tmp_path_factory.mktemp("network"), tokenizer)


@pytest.fixture
def values(tmp_path, network) -> dict:
    """The configuration of a fine-tuning of twelve steps, without dropout."""
    return {
        "out": str(tmp_path / "fine"),
        "checkpoint": str(network),
        "dataset": {"kind": "rte"},
        "data": str(write(tmp_path / "data", "rte", 20)),
        "seeds": [0],
        "batch_examples": 5,
        "micro_batch_examples": 3,
        "dropout": 0.0,
        "classifier_dropout": 0.0,
        "optim": {"lr": 1e-3},
        "log_every_steps": 1,
        "engine": {"kind": "single", "device": "cpu", "threads": 1},
    }


def tuned(values: dict) -> Summary:
    config = validate(Config, values, "test")
    stage.run(config, stage.plan(config))
    return Summary.read(config.out / "summary.json")


def figure(summary: Summary, metric: str) -> float:
    return next(found.median for found in summary.figures if found.metric == metric)


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in Run(folder).rows() if "loss" in row]


@pytest.mark.parametrize("name", KINDS)
def test_thirty_two_examples_of_every_kind_are_learned_by_heart(values, tmp_path, name):
    data = write(tmp_path / "other", name)
    metric, least = ("pearson", 0.99) if name == "stsb" else ("f1" if name == "squad" else "accuracy", 1.0)
    epochs = {"race": 60, "stsb": 100, "squad": 150}.get(name, 40)
    learning = {"epochs": epochs, "batch_examples": 16, "micro_batch_examples": 16, "optim": {"lr": 6e-3}}
    task = {"dataset": {"kind": name}, "data": str(data), "language_model_weight": 0.0}

    summary = tuned({**values, **task, **learning})

    assert figure(summary, metric) >= least


def test_what_is_left_is_a_run_whose_network_others_read_and_predictions_to_look_at(values, tokenizer):
    summary = tuned({**values, "seeds": [3, 5]})
    out = Path(values["out"])

    (best,) = (out / "seed-3" / "results").iterdir()
    checkpoint = out / "seed-3" / "checkpoints" / best.name
    records = read_records(best / "validation.jsonl.zst")
    body, (headed, told) = load_network(checkpoint / "model"), load_headed(checkpoint / "model")
    assert body.config.vocab_size == tokenizer.vocab_size + 3
    assert (told["reading"], told["labels"]) == ("text", ["entailment", "not_entailment"])
    assert headed.head.weight.shape == (2, 32)
    assert [record["number"] for record in records] == list(range(20))
    hits = [record["prediction"] == record["label"] for record in records]
    by_seed = next(found.values for found in summary.figures if found.metric == "accuracy")
    assert by_seed["3"] == sum(hits) / 20
    assert set(by_seed) == {"3", "5"}
    assert next(found.chance for found in summary.figures if found.metric == "accuracy") == 0.5


def test_the_checkpoint_that_is_judged_is_the_best_of_the_epochs(values):
    tuned({**values, "epochs": 4})
    run = Run(Path(values["out"]) / "seed-0")

    told = [(row["validation_accuracy"], -row["step"]) for row in run.rows() if "validation_accuracy" in row]
    (best,) = run.results.iterdir()
    assert len(told) == 4
    assert best.name == f"step-{-max(told)[1]:08d}"
    assert {path.name for path in run.checkpoints()} == {best.name, "step-00000016"}


def test_the_same_command_again_does_nothing_and_another_seed_is_added(values, capsys):
    first = tuned(values)
    before = (Path(values["out"]) / "seed-0" / "metrics.jsonl").read_bytes()

    again = tuned(values)
    more = tuned({**values, "seeds": [0, 1]})

    assert again.figures == first.figures
    assert (Path(values["out"]) / "seed-0" / "metrics.jsonl").read_bytes() == before
    assert len(Run(Path(values["out"]) / "seed-0").attempts()) == 1
    assert all(len(found.values) == 2 for found in more.figures)


def test_another_fine_tuning_in_the_same_place_is_refused_with_the_difference(values, tmp_path):
    tuned({**values, "epochs": 1})

    with pytest.raises(ConfigError, match="epochs: 1 -> 2"):
        tuned({**values, "epochs": 2})
    write(tmp_path / "data", "rte", 21)
    with pytest.raises(ConfigError, match="data: '"):
        tuned({**values, "epochs": 1})


@pytest.mark.parametrize("kind", ["kill", "stop"])
def test_a_fine_tuning_broken_off_in_the_middle_ends_bitwise_where_it_would_have(values, tmp_path, kind):
    dropping = {**values, "dropout": 0.1, "classifier_dropout": 0.1, "checkpoint_every_steps": 1, "epochs": 4}
    tuned({**dropping, "out": str(tmp_path / "undisturbed")})
    path = tmp_path / "fine.yaml"
    path.write_text(yaml.safe_dump({**dropping, "epochs": 4}))
    command = [sys.executable, "-m", "pipeline", "finetune", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    run, until = Run(tmp_path / "fine" / "seed-0"), time.monotonic() + 200
    while not len(run.checkpoints()) > 1 and time.monotonic() < until and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL if kind == "kill" else signal.SIGTERM)
    told = process.communicate()[0]

    assert process.returncode == (-9 if kind == "kill" else 75), told
    assert run.checkpoints()
    tuned(dropping)

    ends = [Run(tmp_path / name / "seed-0") for name in ("undisturbed", "fine")]
    states = [load_file(end.checkpoints()[-1] / "state" / STATE) for end in ends]
    assert ends[0].checkpoints()[-1].name == ends[1].checkpoints()[-1].name == "step-00000016"
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    judged = [
        [row for row in end.rows() if "validation_accuracy" in row and row["step"] <= 16] for end in ends
    ]
    assert judged[0] == judged[1]


STATE = "tensors-00000-of-00001.safetensors"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ({"kind": "ddp"}, "rte"),
        ({"kind": "fsdp2"}, "rte"),
        ({"kind": "deepspeed", "zero_stage": 2}, "rte"),
        *(pytest.param({"kind": "ddp"}, name, marks=pytest.mark.slow) for name in KINDS if name != "rte"),
    ],
)
def test_two_processes_come_to_what_one_comes_to(values, tmp_path, kind, name):
    values |= {"dataset": {"kind": name}, "data": str(write(tmp_path / "other", name, 20))}
    alone = tuned({**values, "out": str(tmp_path / "alone")})
    launch = tmp_path / "two.yaml"
    launch.write_text("kind: torchrun\nprocesses: 2\n")
    engine = {**kind, "device": "cpu", "threads": 1}
    path = tmp_path / "fine.yaml"
    path.write_text(yaml.safe_dump({**values, "engine": engine}))

    command = [sys.executable, "-m", "pipeline", "finetune", str(path), "--on", str(launch)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    together = json.loads((tmp_path / "fine" / "summary.json").read_text())
    torch.testing.assert_close(
        torch.tensor(losses(tmp_path / "fine" / "seed-0")),
        torch.tensor(losses(tmp_path / "alone" / "seed-0")),
        rtol=1e-5,
        atol=1e-5,
    )
    for ours, theirs in zip(alone.figures, together["figures"], strict=True):
        assert theirs["median"] == pytest.approx(ours.median, abs=1e-4)


@pytest.mark.parametrize(("layers", "taken"), [(None, 2), (-1, -1), (0, 0), (1, 1)])
def test_as_many_layers_are_taken_over_as_asked(values, network, tokenizer, layers, taken):
    from pipeline.finetune import network as networks
    from pipeline.finetune.rows import Head

    made = networks.network(
        network,
        tokenizer,
        Head("text", 2, "class"),
        layers=layers,
        dropout=None,
        classifier_dropout=0,
        seed=9,
    )

    ours, theirs = made.body.state_dict(), load_network(network).state_dict()
    same = {name for name, tensor in theirs.items() if torch.equal(ours[name][: len(tensor)], tensor)}
    blocks = {
        int(name.split(".")[1])
        for name in same
        if name.startswith("h.") and "weight" in name and "ln" not in name
    }
    assert blocks == set(range(max(taken, 0)))
    assert ("wte.weight" in same) == (taken >= 0)


@pytest.mark.parametrize(
    "shape",
    [
        {"architecture": "lstm", "n_layer": 1, "n_head": 1, "n_hidden": 24},
        {"causal": False, "extra": 4},
        {"architecture": "gpt2"},
    ],
)
def test_other_networks_are_fine_tuned_by_the_same_command(values, tmp_path, tokenizer, shape):
    other = pretrained(tmp_path / "other", tokenizer, **shape)

    summary = tuned({**values, "checkpoint": str(other), "epochs": 60, "optim": {"lr": 2e-2}})

    assert figure(summary, "accuracy") > 0.6
    (best,) = (Path(values["out"]) / "seed-0" / "results").iterdir()
    tuned_network = load_network(Path(values["out"]) / "seed-0" / "checkpoints" / best.name / "model").config
    assert tuned_network.vocab_size == tokenizer.vocab_size + max(shape.get("extra", 0), 3)
    assert tuned_network.causal == shape.get("causal", True)


def test_plans_tell_what_will_be_done_and_what_is_not_there(values):
    config = validate(Config, values, "test")
    told = stage.describe(config, stage.plan(config))
    assert "12 a seed: 3 epochs of 4" in told
    assert "rte train: 20 examples" in told

    absent = validate(Config, {**values, "data": "nowhere", "checkpoint": "nowhere"}, "test")
    assert "not there yet" in stage.describe(absent, stage.plan(absent))
    with pytest.raises(ConfigError, match="nowhere"):
        stage.run(absent, stage.plan(absent))
    with pytest.raises(ConfigError, match="names one twice"):
        stage.plan(validate(Config, {**values, "seeds": [1, 1]}, "test"))
