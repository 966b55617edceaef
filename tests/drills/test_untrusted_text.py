"""R17: text of pages, of models and of files is shown by the reports, and never alive in them."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.errors import ConfigError, FormatError
from pipeline.formats.seal import SEAL, sealed
from pipeline.report import page
from tests.drills import hostile
from tests.pipeline.report.conftest import make_dataset, make_study
from tests.pipeline.report.test_page import Page

LIVE = {
    "script",
    "link",
    "iframe",
    "object",
    "embed",
    "base",
    "img",
    "form",
    "input",
    "meta",
    "foreignobject",
    "a",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A quickstart: a dataset, a study with its runs, and what is told of the machine."""
    root = tmp_path_factory.mktemp("told") / "quickstart"
    make_dataset(root / "data")
    make_study(root / "study")
    told = {
        "machine": {"platform": "Linux", "cpus": 2, "memory_bytes": 1},
        "versions": {"python": "3"},
        "stages": [],
    }
    (root / "environment.json").write_text(json.dumps({**told, "total_seconds": 1.0}))
    (root / "commands.json").write_text(json.dumps(["loglinear quickstart"]))
    return root


def test_no_text_of_a_file_is_alive_in_a_report(made, tmp_path, drill):
    drill.promise("R17", "hostile text in any file of a report")
    root = shutil.copytree(made, tmp_path / "quickstart")
    places = [(path, where) for path in files(root) for where in texts(read(path))]

    for _ in drill.trials(few=1, full=80):
        path, where = drill.random.choice(places)
        before = path.read_bytes()
        write(path, planted(read(path), where))
        try:
            report = page.write(part(root, path)).read_text(encoding="utf-8")
        except (FormatError, ConfigError):
            report = ""  # the file is not as this version writes it, and so it was said
        finally:
            path.write_bytes(before)
        assert_nothing_is_alive(report)
        drill.passed()


@pytest.mark.slow
def test_names_of_directories_are_not_alive_in_a_report(made, tmp_path, drill):
    drill.promise("R17", "hostile text in any file of a report")
    name = hostile.MARKUP.replace("/", "")
    root = shutil.copytree(made, tmp_path / name)
    runs = root / "study" / "runs"
    next(runs.iterdir()).rename(runs / name)

    for directory in (root / "data", runs / name):
        report = page.write(directory).read_text(encoding="utf-8")
        assert_nothing_is_alive(report)
        assert hostile.MARKUP[:10] not in report


def test_a_datasheet_and_a_site_escape_what_they_show():
    from pipeline.quickstart.site.render import escape

    assert "<script" not in escape(hostile.MARKUP)


def assert_nothing_is_alive(report: str) -> None:
    if not report:
        return
    parsed = Page(report)
    for tag, attributes in parsed.elements:
        assert tag not in LIVE - {"meta", "a"}, tag
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("href", "xlink:href", "src", "action", "formaction", "srcdoc"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
        assert "http-equiv" not in attributes
    assert "z" * 13 not in report, "a template of the text was obeyed"


def files(root: Path) -> list[Path]:
    return sorted(
        path
        for pattern in ("*.json", "*.jsonl", "*.csv", "*.yaml")
        for path in root.rglob(pattern)
        if path.stat().st_size
    )


def part(root: Path, path: Path) -> Path:
    """Return the smallest directory with a report of its own that a file belongs to."""
    runs = root / "study" / "runs"
    if path.is_relative_to(runs):
        return runs / path.relative_to(runs).parts[0]
    return next(folder for folder in (root / "data", root / "study", root) if path.is_relative_to(folder))


def read(path: Path) -> Any:
    text = path.read_text()
    if path.suffix == ".json":
        return json.loads(text)
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return yaml.safe_load(text) if path.suffix == ".yaml" else list(csv.reader(text.splitlines()))


def write(path: Path, values: Any) -> None:
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(values)
        return
    if isinstance(values, dict) and SEAL in values:
        values = sealed({key: value for key, value in values.items() if key != SEAL})
    lines = (
        "".join(json.dumps(row) + "\n" for row in values) if path.suffix == ".jsonl" else json.dumps(values)
    )
    path.write_text(yaml.safe_dump(values) if path.suffix == ".yaml" else lines)


def texts(values: Any, where: tuple = ()) -> Iterator[tuple]:
    """Yield the path of each text, and of each key, of a file."""
    if isinstance(values, str):
        yield where
    pairs = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    )
    for key, value in pairs:
        if isinstance(values, dict):
            yield (*where, key, "key")
        yield from texts(value, (*where, key))


def planted(values: Any, where: tuple) -> Any:
    """Return the values with markup behind the text, or in front of the key, at a path."""
    if not where:
        return values + hostile.MARKUP
    if isinstance(values, dict) and where[1:] == ("key",):
        return {
            (f"{key}{hostile.MARKUP}" if key == where[0] else key): value for key, value in values.items()
        }
    changed = dict(values) if isinstance(values, dict) else list(values)
    changed[where[0]] = planted(values[where[0]], where[1:])
    return changed
