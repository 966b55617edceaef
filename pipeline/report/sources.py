"""Finds what a directory holds: a dataset, runs, a study, or all of them side by side (a quickstart)."""

from __future__ import annotations

import csv
import math
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

TEXT_COLUMNS = ("name", "family", "arm", "metric", "config_hash")
FORMS = ("log-linear", "power", "offset-power")  # in the order of their coefficients
EXTRAS = ("environment.json", "commands.json", "parity.json")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A run, and what its configuration says of it; a number that it does not say is None."""

    name: str
    run: Run
    config: dict[str, Any]

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
class Study:
    """The files of a study, empty or None where they are not there; `choice` has law and prediction."""

    directory: Path
    plan: Any
    points: list[dict[str, Any]]
    fits: dict[str, Any]
    choice: Any
    verdict: Any

    @property
    def is_sweep(self) -> bool:
        """Whether it swept learning rates, instead of a ladder of sizes."""
        return "widths" in (self.verdict or {}) or bool(self.identity.get("arms"))

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return the configuration that decides it, as its plan keeps it."""
        found = self.plan.get("identity") if self.plan else None
        return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Everything a report is made from. `kind` is dataset, run, study, sweep or quickstart."""

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
    if is_run(directory):
        return Sources(kind="run", root=directory, runs=(_trained(directory, directory.name),))
    if is_study(directory):
        found = _study(directory)
        if found.is_sweep:
            return Sources(kind="sweep", root=directory, sweep=found, runs=_runs(directory))
        return Sources(kind="study", root=directory, study=found, runs=_runs(directory))
    data, study, sweep = directory / "data", directory / "study", directory / "sweep"
    if is_dataset(data) or is_study(study) or any((directory / name).is_file() for name in EXTRAS):
        return Sources(
            kind="quickstart",
            root=directory,
            dataset=data if is_dataset(data) else None,
            study=_study(study) if is_study(study) else None,
            sweep=_study(sweep) if is_study(sweep) else None,
            runs=_runs(study),
        )
    raise ConfigError(
        f"{directory}: no manifest.json, .phases, metrics.jsonl, plan.json or points.csv here; "
        f"give the `out` of a dataset, a run, a study or a quickstart"
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


def is_study(directory: Path) -> bool:
    """Tell whether a study was planned here."""
    return (directory / "plan.json").is_file() or (directory / "points.csv").is_file()


def read_json_or_none(path: Path) -> Any:
    """Return a JSON file, None if there is none."""
    return read_json(path) if path.is_file() else None


def points_of(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a points CSV; numbers as numbers, what is empty or not finite as None."""
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [
            {key: text if key in TEXT_COLUMNS else _number(text) for key, text in row.items()} for row in rows
        ]
    except (TypeError, ValueError, AttributeError, csv.Error) as fault:
        raise FormatError(f"{path}: {fault}; run the study again to rewrite it") from None


def _number(text: str) -> float | int | None:
    value = float(text) if text else math.nan
    if not math.isfinite(value):
        return None
    return int(text) if text.lstrip("+-").isdigit() else value


def _study(directory: Path) -> Study:
    paths = sorted(
        (directory / "fits").glob("*.json"),
        key=lambda path: (FORMS.index(path.stem) if path.stem in FORMS else 9, path),
    )
    fits = {path.stem: read_json(path) for path in paths}
    choice = fits.pop("choice", None)
    return Study(
        directory=directory,
        plan=read_json_or_none(directory / "plan.json"),
        points=points_of(directory / "points.csv"),
        fits=fits,
        choice=choice,
        verdict=read_json_or_none(directory / "verdict.json"),
    )


def _runs(study: Path) -> tuple[Trained, ...]:
    """Return the runs of a study, smallest model first."""
    runs = [_trained(path.parent, path.parent.name) for path in _metrics(study)]
    return tuple(sorted(runs, key=lambda trained: (trained.params_non_embedding or 0, trained.name)))


def _metrics(study: Path) -> Iterator[Path]:
    return (study / "runs").glob("*/metrics.jsonl")


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
