"""R22: a mistake in a configuration ends the command before anything starts, and is told with its place.

Mutants of every shipped YAML, each with one mistake of a kind that people make. An independent reading of
the file (PyYAML's nodes) says where the mistake stands and what the message has to name.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.drills.commands import Ended, command, make_dataset, run_values, write_yaml
from tests.drills.mutants import Mutant, mutation

ROOT = Path(__file__).parents[2]
WORDS = "mistakes in configurations"
SLOWEST_SECONDS = 5.0


@pytest.fixture(scope="module")
def configs(tmp_path_factory) -> Path:
    return shutil.copytree(ROOT / "configs", tmp_path_factory.mktemp("copy") / "configs")


def files(configs: Path) -> list[Path]:
    return sorted(path for path in configs.rglob("*.yaml"))


def use(configs: Path, path: Path) -> Ended:
    """Run the command that reads a file of its folder."""
    train = configs / "train" / "ladder.yaml"
    user = configs.parent / "user.yaml"
    match path.relative_to(configs).parts[0]:
        case "data" if "blocklists" in path.parts:
            if path.stem == "wikipedia":
                section = {"wikipedia": {"lists": [str(path)]}}
            else:
                (configs.parent / "links.txt").write_text("http://one.test/\n")
                section = {
                    "links": {"inputs": [str(configs.parent / "links.txt")], "blocklists": [str(path)]}
                }
            write_yaml(
                user, {"from": "configs/data/webtext.yaml", "out": str(configs.parent / "out"), **section}
            )
            return command("data", user, "--until", "links" if path.stem != "wikipedia" else "wikipedia")
        case "data" | "train" | "evaluate" | "finetune" | "study" as verb:
            return command(verb, path, "--dry-run")
        case "launch":
            (configs.parent / "hostfile").write_text("node-0 slots=2\n")
            return command(
                "train" if "data-" not in path.name else "data",
                (train if "data-" not in path.name else configs / "data" / "books.yaml"),
                "--on",
                path,
                "--dry-run",
            )
        case "model" | "engine" | "optim" as section:
            write_yaml(user, {"from": "configs/train/ladder.yaml", section: {"from": str(path)}})
            return command("train", user, "--dry-run")
    raise AssertionError(path)


def test_every_mutant_is_rejected_with_its_place(configs, drill, monkeypatch):
    drill.promise("R22", WORDS)
    monkeypatch.chdir(configs.parent)
    told = []
    for _ in drill.trials(few=20, full=300):
        path = drill.random.choice(files(configs))
        before = path.read_bytes()
        what, mutant = mutation(before.decode(), path, drill.random)
        path.write_bytes(mutant.text if isinstance(mutant.text, bytes) else mutant.text.encode())
        begun = time.process_time()
        try:
            ended = use(configs, path)
        finally:
            path.write_bytes(before)
        fault = wrong(ended, mutant, path, time.process_time() - begun)
        if fault:
            told.append(
                f"{path.relative_to(configs)}: {what}: {fault}\n  wanted line {mutant.line}, {mutant.words}"
                f"\n  {ended.said[-600:]}"
            )
        else:
            drill.passed()
    assert not told, "\n".join(told)


def wrong(ended: Ended, mutant: Mutant, path: Path, seconds: float) -> str:
    """Return what is wrong with how a mistake was answered, or nothing."""
    if ended.code != 2:
        return f"exit code {ended.code}"
    if "Traceback" in ended.said:
        return "a traceback"
    place = f"{path.name}:{mutant.line}:" if mutant.line > 0 and "blocklists" not in path.parts else path.name
    if place not in ended.said:
        return f"{place} is not named"
    missing = [word for word in mutant.words if word not in ended.said]
    if missing:
        return f"{missing} is not said"
    return "slow" if seconds > SLOWEST_SECONDS else ""


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("optim.lrr=1e-4", ("command line: optim.lrr: unknown key", "did you mean lr?")),
        ("optim.lr=fast", ("command line: optim.lr", "valid number", "'fast'")),
        ("optim.lr=-1e-4", ("command line: optim.lr", "greater than 0", "-0.0001")),
        ("engine.kind=ddpp", ("command line: engine", "'ddpp'", "did you mean ddp?")),
        ("model.n_head=5", ("n_embd (16) must be a multiple of n_head (5)",)),
        ("model.n_layer=0", ("command line: model.n_layer", "n_layer is 0", "at least 1")),
        ("model.dropout=.nan", ("command line: model", "dropout is nan")),
        ("seed", ("command line: 'seed': expected key=value",)),
        ("schedule=[", ("command line: schedule", "not valid YAML")),
        ("sequence_tokens=17", ("sequence_tokens: 17 is more than model.n_ctx (16)",)),
        ("schedule.warmup_tokens=1000", ("warm-up and decay", "longer than train_tokens (256)")),
        ("model.vocab_size=299", ("model.vocab_size: 299", "uses 300 ids")),
        ("global_batch_tokens=65", ("global_batch_tokens", "65", "16")),
        ("init={checkpoint: nowhere, what: weights}", ("init.checkpoint: nowhere: no checkpoint",)),
        ("data=nowhere", ("nowhere/manifest.json: no manifest", "loglinear data")),
    ],
)
def test_a_mistake_on_the_command_line_is_rejected_before_anything_starts(tmp_path, drill, word, words):
    drill.promise("R22", WORDS)
    values = run_values(make_dataset(tmp_path / "data"), tmp_path / "run")

    ended = command("train", write_yaml(tmp_path / "c.yaml", values), word)

    assert ended.code == 2, ended.said
    assert not [each for each in words if each not in ended.said], ended.said
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(("processes", "batch"), [(3, 64), (7, 128), (8, 64)])
def test_a_batch_that_does_not_divide_among_the_processes_is_no_mistake(
    tmp_path, drill, monkeypatch, processes, batch
):
    """Its rows are shared as evenly as can be; that no window is lost is tested with the trainer."""
    drill.promise("R22", WORDS)
    monkeypatch.setattr("pipeline.train.stage.world_size", lambda: processes)
    values = run_values(make_dataset(tmp_path / "data"), tmp_path / "run")
    config = write_yaml(
        tmp_path / "c.yaml", {**values, "global_batch_tokens": batch, "engine": {"kind": "ddp"}}
    )

    ended = command("plan", config)

    assert ended.code == 0, ended.said
    assert f"{processes} × {-(-batch // 16 // processes)} sequences" in ended.said


def test_numbers_are_numbers_however_they_are_written(tmp_path, drill):
    drill.promise("R22", WORDS)
    text = yaml.safe_dump(
        {key: value for key, value in run_values(Path("d"), Path("r")).items() if key != "optim"}
    )
    for written in ("1e-4", "1.0e-4", "1E-4", "0.0001", "'1e-4'", "1.e-4"):
        (tmp_path / "c.yaml").write_text(f"{text}optim: {{lr: {written}}}\n")

        ended = command("show", "train", tmp_path / "c.yaml")

        assert "optim.lr: 0.0001 " in ended.said, (written, ended.said)


def test_a_process_of_its_own_says_it_within_five_seconds(tmp_path, drill):
    drill.promise("R22", WORDS)
    for verb, text, words in (
        ("train", "optim: {lrr: 1}\n", "c.yaml:1: optim.lrr: unknown key (did you mean lr?)"),
        ("data", "outt: x\n", "c.yaml:1: outt: unknown key (did you mean out?)"),
        ("evaluate", "tasks: [held_outt]\n", "did you mean held_out?"),
    ):
        (tmp_path / "c.yaml").write_text(text)
        begun = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", verb, str(tmp_path / "c.yaml")],
            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        )  # fmt: skip
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)

        assert done.returncode == 2, done.stderr
        assert words in done.stderr and "Traceback" not in done.stderr
        # Of the processor, which others may be using too.
        assert ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime < SLOWEST_SECONDS
