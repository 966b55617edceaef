"""The files of a study, and what they say of each of its arms: points, fits, choice and verdict."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.publish import read_json

TEXT_COLUMNS = ("name", "family", "arm", "metric", "config_hash")
FORMS = ("log-linear", "power", "offset-power")  # in the order of their coefficients


@dataclass(frozen=True, kw_only=True)
class Study:
    """The files of a study, empty or None where they are not there.

    `files` are those of fits/ by their names without suffix: a law's coefficients, or a choice with its law
    and prediction. What stands at the top of a verdict is of the main arm.
    """

    directory: Path
    plan: Any
    points: list[dict[str, Any]]
    files: Mapping[str, Any]
    verdict: Any

    @property
    def choice(self) -> Any:
        """Return the main arm's choice of a law and its prediction."""
        return self.files.get("choice")

    @property
    def fits(self) -> dict[str, Any]:
        """Return the main arm's laws by their forms."""
        return {form: self.files[form] for form in FORMS if form in self.files}

    @property
    def is_sweep(self) -> bool:
        """Whether it swept learning rates, instead of a ladder of sizes."""
        if self.verdict is not None:
            return "widths" in self.verdict
        arms = self.identity.get("arms") or []
        return bool(arms) and all(arm.get("lr_factor") and not arm.get("tokens") for arm in arms)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return the configuration that decides it, as its plan keeps it."""
        found = self.plan.get("identity") if self.plan else None
        return found if isinstance(found, Mapping) else {}

    @property
    def arms(self) -> Sequence[Mapping[str, Any]]:
        """Return what the verdict says of each arm; a verdict of old has none."""
        return self.found("arms") or ()

    @property
    def ladders(self) -> list[Mapping[str, Any]]:
        """Return the arms that are ladders of sizes, the main one first."""
        found = [arm for arm in self.arms if arm["is_ladder"] and arm["sizes"]]
        return sorted(found, key=lambda arm: not arm["is_main"])

    @cached_property
    def main(self) -> str:
        """Return the main arm's name, "" where there is but one without a name."""
        planned = (self.plan or {}).get("arms") or [{"name": ""}]
        return str((self.verdict or {}).get("main", planned[0]["name"]))

    def found(self, key: str) -> Any:
        """Return what the verdict has under a key, None where there is no verdict or one without it."""
        return (self.verdict or {}).get(key)

    def choice_of(self, arm: Mapping[str, Any]) -> Any:
        """Return an arm's choice of a law and its prediction, or None."""
        return self._file(arm.get("choice"))

    def fits_of(self, arm: Mapping[str, Any]) -> dict[str, Any]:
        """Return the laws of an arm by their forms."""
        found = {form: self._file(name) for form, name in (arm.get("fits") or {}).items()}
        return {form: fit for form, fit in found.items() if fit}

    def runs_of(self, arm: str) -> set[str] | None:
        """Return the names of an arm's runs that are results, None where the plan has no arms."""
        if not self.plan or not self.plan.get("arms"):
            return None
        return {
            run["name"]
            for run in self.plan["runs"]
            if arm in (run["arm"], *run.get("also", ())) and not run.get("is_trunk")
        }

    def rows(self, metric: str, arm: str) -> list[dict[str, Any]]:
        """Return the points of a metric in an arm that have a value."""
        names = self.runs_of(arm)
        return [
            row
            for row in self.points
            if row["metric"] == metric
            and row.get("value") is not None
            and (names is None or row["name"] in names)
        ]

    def _file(self, name: str | None) -> Any:
        return self.files.get(name.removesuffix(".json")) if name else None


def read(directory: Path) -> Study:
    """Return what there is of the study in a directory."""
    paths = sorted((directory / "fits").glob("*.json"))
    return Study(
        directory=directory,
        plan=read_json_or_none(directory / "plan.json"),
        points=points_of(directory / "points.csv"),
        files={path.stem: read_json(path) for path in paths},
        verdict=read_json_or_none(directory / "verdict.json"),
    )


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
