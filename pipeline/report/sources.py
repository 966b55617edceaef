"""Finds what a directory holds: a dataset, runs, a study, or all of them side by side (a quickstart)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from model.config import GPTConfig, parameters, parameters_non_embedding
from pipeline.errors import ConfigError, FormatError
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.manifest import Manifest
from pipeline.formats.publish import read_json
from pipeline.formats.run import Run
from pipeline.report import building
from pipeline.report.studied import Study, read_json_or_none
from pipeline.report.studied import read as read_study

SHAPE = ("n_layer", "n_head", "n_embd", "n_ctx", "vocab_size")
SEEDS = "seed-*/metrics.jsonl"
EXTRAS = ("environment.json", "commands.json", "parity.json")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A run, and what its configuration says of it; a number that it does not say is None.

    `evaluated` is set where there are no more than results: the folder of one checkpoint's.
    """

    name: str
    run: Run
    config: dict[str, Any]
    evaluated: Path | None = None

    @property
    def result_folders(self) -> list[Path]:
        """Return the folders of results, one for each evaluated checkpoint, the newest last."""
        if self.evaluated:
            return [self.evaluated]
        return sorted({path.parent for path in self.run.results.glob("*/*.json")})

    @cached_property
    def model(self) -> GPTConfig | None:
        """Return the shape of its model."""
        try:
            return GPTConfig(**self.config["model"])
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def params(self) -> int | None:
        """Return all parameters."""
        return parameters(self.model) if self.model else None

    @property
    def params_non_embedding(self) -> int | None:
        """Return the parameters of blocks and final norm."""
        return parameters_non_embedding(self.model) if self.model else None

    @property
    def seed(self) -> int | None:
        """Return the seed."""
        return self.config.get("seed")

    @property
    def lr(self) -> float | None:
        """Return the peak learning rate."""
        optim = self.config.get("optim")
        return optim.get("lr") if isinstance(optim, dict) else None


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Everything a report is made from. `kind` is dataset, run, finetuning, study, comparison,
    sweep, quickstart or results."""

    kind: str
    root: Path
    dataset: Path | None = None
    study: Study | None = None
    sweep: Study | None = None
    runs: tuple[Trained, ...] = field(default=())

    @cached_property
    def manifest(self) -> Manifest | None:
        """Return the manifest of the dataset, None while it is being built."""
        return Manifest.read(self.dataset) if self.dataset and is_published(self.dataset) else None

    @cached_property
    def phases(self) -> Sequence[Mapping[str, Any]]:
        """Return the account of each finished phase of the dataset, in order."""
        if self.manifest:
            return self.manifest.phases
        return building.finished(self.dataset) if self.dataset else ()

    def extra(self, name: str) -> Any:
        """Return a JSON file of the directory itself, None if it is not there."""
        return read_json_or_none(self.root / name)


def find(directory: Path) -> Sources:
    """Return what is in a directory; ConfigError if it is nothing a report can be written of."""
    if not directory.is_dir():
        raise ConfigError(
            f"{directory}: no such directory; give the `out` of a dataset, a run, a study or a quickstart"
        )
    if is_dataset(directory):
        return Sources(kind="dataset", root=directory, dataset=directory)
    if is_finetuning(directory):
        seeds = sorted(directory.glob(SEEDS), key=lambda path: (len(path.parent.name), path))
        runs = tuple(_trained(path.parent, path.parent.name) for path in seeds)
        return Sources(kind="finetuning", root=directory, runs=runs)
    if is_run(directory):
        return Sources(kind="run", root=directory, runs=(_trained(directory, directory.name),))
    if is_comparison(directory):
        return Sources(kind="comparison", root=directory, runs=_runs(directory))
    if is_study(directory):
        found = read_study(directory)
        if found.is_sweep:
            return Sources(kind="sweep", root=directory, sweep=found, runs=_runs(directory))
        return Sources(kind="study", root=directory, study=found, runs=_runs(directory))
    data, study, sweep = directory / "data", directory / "study", directory / "sweep"
    if is_dataset(data) or is_study(study) or any((directory / name).is_file() for name in EXTRAS):
        return Sources(
            kind="quickstart",
            root=directory,
            dataset=data if is_dataset(data) else None,
            study=read_study(study) if is_study(study) else None,
            sweep=read_study(sweep) if is_study(sweep) else None,
            runs=_runs(study),
        )
    if folders := _result_folders(directory):
        return Sources(kind="results", root=directory, runs=tuple(map(_evaluated, folders)))
    raise ConfigError(
        f"{directory}: no manifest.json, .phases, metrics.jsonl, plan.json, points.csv or results here; "
        f"give the `out` of a dataset, a run, a study, a quickstart or an evaluation"
    )


def is_dataset(directory: Path) -> bool:
    """Tell whether this is a dataset, whole or being built."""
    return is_published(directory) or (directory / building.FOLDER).is_dir()


def is_published(directory: Path) -> bool:
    """Tell whether this is a whole dataset."""
    return (directory / MANIFEST).is_file()


def is_run(directory: Path) -> bool:
    """Tell whether a run has begun here."""
    return (directory / "metrics.jsonl").is_file()


def is_finetuning(directory: Path) -> bool:
    """Tell whether seeds of a fine-tuning have begun here."""
    return not is_run(directory) and next(directory.glob(SEEDS), None) is not None


def is_comparison(directory: Path) -> bool:
    """Tell whether a study that compares trials was planned here."""
    plan = read_json_or_none(directory / "plan.json")
    return isinstance(plan, dict) and "finetunings" in plan


def is_study(directory: Path) -> bool:
    """Tell whether a study was planned here."""
    return (directory / "plan.json").is_file() or (directory / "points.csv").is_file()


def _runs(study: Path) -> tuple[Trained, ...]:
    """Return the runs of a study, smallest model first."""
    runs = [_trained(path.parent, path.parent.name) for path in _metrics(study)]
    return tuple(sorted(runs, key=lambda trained: (trained.params_non_embedding or 0, trained.name)))


def _metrics(study: Path) -> Iterator[Path]:
    return (study / "runs").glob("*/metrics.jsonl")


def _result_folders(directory: Path) -> list[Path]:
    """Return the folders of results in a directory: itself, or one for each checkpoint below it."""
    for pattern in ("*.json", "*/*.json", "results/*/*.json"):
        if found := sorted({path.parent for path in directory.glob(pattern) if _is_suite(path)}):
            return found
    return []


def _is_suite(path: Path) -> bool:
    content = read_json(path)
    return isinstance(content, dict) and {"weights_hash", "results"} <= content.keys()


def _evaluated(folder: Path) -> Trained:
    """Return what was evaluated, by the name of its checkpoint, and its shape if that is still there."""
    suite = next(path for path in sorted(folder.glob("*.json")) if _is_suite(path))
    checkpoint = Path(read_json(suite)["checkpoint"])
    shape = read_json_or_none(checkpoint / "model" / "config.json") or read_json_or_none(
        checkpoint / "config.json"
    )
    model = {key: shape[key] for key in SHAPE if key in shape} if isinstance(shape, dict) else {}
    if isinstance(shape, dict) and "n_positions" in shape:
        model["n_ctx"] = shape["n_positions"]
    return Trained(name=checkpoint.name, run=Run(folder), config={"model": model}, evaluated=folder)


def _trained(directory: Path, name: str) -> Trained:
    run = Run(directory)
    if not run.config.is_file():
        return Trained(name=name, run=run, config={})
    try:
        config = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as fault:
        raise FormatError(
            f"{run.config}: not valid YAML ({fault}); restore it from the run's command"
        ) from None
    return Trained(name=name, run=run, config=config if isinstance(config, dict) else {})
