"""What `loglinear show`, `status` and `ls` print."""

import ast
import time
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pipeline.composition import compose
from pipeline.config import Kind, did_you_mean, plain
from pipeline.errors import ConfigError
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.publish import read_json
from pipeline.queued import status_lines

FOLDERS = {
    "datasets": "pipeline.finetune.datasets",
    "engines": "pipeline.trainer.engines",
    "executors": "pipeline.data.executors",
    "extractors": "pipeline.data.extractors",
    "filters": "pipeline.data.filters",
    "forms": "pipeline.study.forms",
    "launchers": "launch.launchers",
    "readers": "pipeline.data.readers",
    "tasks": "pipeline.evaluate.tasks",
    "tokenizers": "pipeline.data.tokenizers",
    "trackers": "pipeline.trainer.trackers",
}
DEFAULT = "default"


def provenance(config: Any, path: Path, overrides: Sequence[str]) -> str:
    """Return every value of a configuration beside the place that set it and what is said of it there."""
    places = compose(path, overrides).places
    rows = [
        (".".join(map(str, where)), value, places.get(where, DEFAULT))
        for where, value in _leaves(plain(config), ())
    ]
    width = max(len(f"{name}: {value}") for name, value, _ in rows)
    return "\n".join(
        f"{f'{name}: {value}':<{min(width, 70)}}  {place}{f'  # {said}' if (said := remark(place)) else ''}"
        for name, value, place in rows
    )


def remark(place: str) -> str:
    """Return the comment on the line of a place (`file:line`); for training recipes, whose the value is."""
    file, _, line = place.rpartition(":")
    if not file or not line.isdigit():
        return ""
    return Path(file).read_text(encoding="utf-8").splitlines()[int(line) - 1].partition(" # ")[2]


def choices(what: str) -> str:
    """Return the kinds of a folder, or the models of configs/model, with what each is for."""
    if what == "models":
        files = sorted(Path("configs/model").glob("*.yaml"))
        return "\n".join(f"{file.stem:<20}{_first_comment(file)}" for file in files)
    if what not in FOLDERS:
        names = [*FOLDERS, "models"]
        raise ConfigError(f"ls {what}: no such list{did_you_mean(what, names)}; there are {', '.join(names)}")
    folder = FOLDERS[what]
    root = resources.files(folder)
    return "\n".join(f"{name:<20}{_first_line(root / f'{name}.py')}" for name in Kind(folder).names())


def status(directory: Path) -> str:
    """Return what a dataset, run or study directory says of itself."""
    if not directory.is_dir():
        raise ConfigError(f"{directory}: no such directory")
    tellers = [_dataset, _run, _study, status_lines]
    lines = [line for teller in tellers for line in teller(directory)]
    if not lines:
        raise ConfigError(f"{directory}: no dataset, run or study is here")
    return "\n".join(lines)


def _dataset(directory: Path) -> list[str]:
    marks = sorted((directory / ".phases").glob("*.json"), key=lambda mark: mark.stat().st_mtime)
    lines = [f"phase {mark.stem}: done {_ago(mark)}" for mark in marks]
    return [*lines, f"published {_ago(directory / MANIFEST)}"] if (directory / MANIFEST).exists() else lines


def _run(directory: Path) -> list[str]:
    metrics = directory / "metrics.jsonl"
    if not metrics.exists():
        return []
    from pipeline.formats.run import Run

    run = Run(directory)
    rows = [row for row in run.rows() if row.get("loss") is not None]
    lines = [f"newest checkpoint: {path.name}, {_ago(path)}" for path in run.checkpoints()[-1:]]
    state = "finished" if run.finished else f"last row {_ago(metrics)}"
    told = [f"step {row['step']:,}: loss {row['loss']:.4f}, {row['tokens']:,} tokens" for row in rows[-1:]]
    return [state, *told, *lines]


def _study(directory: Path) -> list[str]:
    if not (directory / "plan.json").exists():
        return []
    from pipeline.study.status import lines as of_its_runs

    runs = sorted(path for path in (directory / "runs").glob("*") if path.is_dir())
    lines = of_its_runs(directory) or [
        f"{run.name}: {_run(run)[0] if _run(run) else 'not started'}" for run in runs
    ]
    for asked in sorted(path for path in (directory / "evaluated").glob("*") if path.is_dir()):
        lines.append(f"{asked.name}: {len(list(asked.glob('*/*.json')))} checkpoints evaluated")
    for tuned in sorted(path for path in (directory / "finetuned").glob("*") if path.is_dir()):
        lines.append(f"{tuned.name}: {'finished' if (tuned / 'summary.json').exists() else 'begun'}")
    for verdict in (directory / "verdict.json", directory / "comparison.json"):
        if verdict.exists():
            lines += [f"verdict {_ago(verdict)}", *read_json(verdict).get("summary", [])]
    return lines


def _leaves(value: Any, where: tuple[str | int, ...]) -> list[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in _leaves(item, (*where, key))]
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [leaf for index, item in enumerate(value) for leaf in _leaves(item, (*where, index))]
    return [(where, value)]


def _first_line(file: Traversable) -> str:
    """Return a module's purpose without importing it: an optional library may be missing."""
    return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]


def _first_comment(file: Path) -> str:
    lines = [line.lstrip("# ") for line in file.read_text().splitlines() if line.startswith("#")]
    return lines[0] if lines else ""


def _ago(path: Path) -> str:
    seconds = time.time() - path.stat().st_mtime
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"
