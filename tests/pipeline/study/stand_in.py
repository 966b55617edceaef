"""Stands in for `loglinear train`, `evaluate` and `finetune` in tests of scheduling: the same arguments and
files, but no learning. The loss follows a planted law of the model's size and its tokens, with a scatter by
seed. A run that goes on from another's state fails where that is not there.

STAND_IN_DELAY holds each job for so many seconds; STAND_IN_FAIL=NAME:COUNT makes the training of a run whose
name starts with NAME fail COUNT times, with `finetune ` before NAME its fine-tunings; each job appends its
name to the file STAND_IN_DIARY.
"""

import os
import statistics
import sys
import time
from pathlib import Path
from typing import TextIO

import numpy as np
import yaml

from model.config import GPTConfig, parameters_non_embedding
from pipeline.formats.checkpoint import Meta
from pipeline.formats.results import Result, Results
from pipeline.formats.run import Run, writing
from pipeline.formats.summary import Figure, Summary


def law(config: dict) -> float:
    """Bits per byte of a model: power laws, and half a percent of scatter by seed."""
    params, seed = parameters_non_embedding(GPTConfig(**config["model"])), config["seed"]
    scatter = 1 + 0.005 * float(np.random.default_rng([seed, params]).standard_normal())
    return (8.0 * params**-0.1 + 4.0 * config["train_tokens"] ** -0.2) * scatter


def main(verb: str, path: Path, log: TextIO) -> int:
    config = yaml.safe_load(path.read_text())
    directory = Path(Path(config["checkpoint"]).parents[1] if verb == "evaluate" else config["out"])
    with Path(os.environ["STAND_IN_DIARY"]).open("a") as diary:
        diary.write(f"{verb} {directory.parent.name}/{directory.name}\n")
    if _must_fail(verb, directory):
        log.write("out of luck\n")
        return 1
    time.sleep(float(os.environ.get("STAND_IN_DELAY", "0")))
    if verb == "finetune":
        _finetune(config, directory)
    else:
        _train(config, directory) if verb == "train" else _evaluate(directory)
    return 0


def _must_fail(verb: str, directory: Path) -> bool:
    name, _, count = os.environ.get("STAND_IN_FAIL", "").partition(":")
    job = directory.name if verb == "train" else f"{verb} {directory.name}"
    if not name or not job.startswith(name):
        return False
    directory.mkdir(parents=True, exist_ok=True)
    failures = directory / "failures"
    failures.write_text(failures.read_text() + "x" if failures.exists() else "x")
    return len(failures.read_text()) <= int(count)


def _train(config: dict, directory: Path) -> None:
    batch, tokens = config["global_batch_tokens"], config["train_tokens"]
    if "init" in config:
        Run(Path(config["init"]["checkpoint"])).checkpoints()[-1]
    loss, steps = law(config), tokens // batch
    speed = 2e8 / parameters_non_embedding(GPTConfig(**config["model"]))
    with writing(directory) as writer:
        writer.write_config(yaml.safe_dump(config))
        for step in range(1, steps + 1):
            row = {"step": step, "tokens": step * batch, "loss": loss + 5 / step, "tokens_per_second": speed}
            writer.append(row)
        writer.append({"step": steps, "tokens": tokens, "validation_loss": loss, "bits_per_byte": loss * 1.5})
        meta = Meta(
            step=steps,
            tokens=tokens,
            complete=True,
            engine="stand-in",
            world_size=1,
            epoch=writer.epoch,
            config_hash="",
            data_hash="",
        )
        with writer.publishing_checkpoint(meta) as draft:
            (draft / "model").mkdir(parents=True)
            (draft / "model" / "config.json").write_text("{}")


def _evaluate(directory: Path) -> None:
    run = Run(directory)
    config = yaml.safe_load(run.config.read_text())
    value = law(config)
    checkpoint = run.checkpoints()[-1]
    result = Result(
        task="held_out",
        metric="bits_per_byte",
        value=value,
        stderr=0.01,
        num_examples=10,
        dtype="float32",
        data_sha256="",
        protocol="planted",
    )
    suite = Results(checkpoint=str(checkpoint), weights_hash="", origin={}, results=(result,))
    suite.write(run.results / checkpoint.name / "study.json")


def _finetune(config: dict, directory: Path) -> None:
    """Each seed is right a hundredth more often than the one before it, and larger networks more often."""
    run = Run(Path(config["checkpoint"]).parents[1])
    best = 1 - law(yaml.safe_load(run.config.read_text())) / 20
    scores = {str(seed): best + 0.01 * place for place, seed in enumerate(config["seeds"])}
    figures = [
        Figure(
            split=split,
            metric="accuracy",
            values=scores,
            median=statistics.median(scores.values()),
            mean=statistics.fmean(scores.values()),
            sd=statistics.stdev(scores.values()) if len(scores) > 1 else None,
            stderr=0.1,
            num_examples=16,
            chance=0.5,
            paper={},
        )
        for split in ("train", "validation")
    ]
    task = f"finetune/{config['dataset']['kind']}"
    Summary(task=task, config_hash="", inputs={"weights": "w"}, figures=tuple(figures)).write(directory)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.stdout))
