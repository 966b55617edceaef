"""A dataset while it is built: which phases are done and how far the others are, as its files tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.formats.publish import read_json
from pipeline.report import numbers
from pipeline.report.section import Section, Table

if TYPE_CHECKING:
    from pipeline.report.sources import Sources

NAME, TITLE = "building", "How far it is"
FOLDER, ORDER, TASKS = ".phases", "order.txt", "tasks.json"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A phase at work: how many tasks of its latest pass are complete, and the sums of complete tasks."""

    state: str
    documents_in: int
    documents_out: int
    dropped: int


def section(sources: Sources) -> Section:
    """Return the section of a dataset that is not whole."""
    assert sources.dataset is not None
    accounts = {row["name"]: row for row in sources.phases}
    names = order(sources.dataset) or [*accounts, *_begun_names(sources.dataset)]
    rows = [_row(sources.dataset, name, accounts.get(name)) for name in dict.fromkeys(names)]
    table = Table(head=("phase", "state", "in", "out", "dropped"), rows=rows, labels=2)
    return Section(name=NAME, title=TITLE, template="building.html.j2", values={"phases": table})


def finished(dataset: Path) -> list[dict[str, Any]]:
    """Return the account of each finished phase, in the order in which they were."""
    marks = sorted((dataset / FOLDER).glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    rows = [read_json(mark) for mark in marks]
    return [{"name": row["phase"], "seconds": row["seconds"], **row["counts"]} for row in rows]


def order(dataset: Path) -> list[str]:
    """Return the names of all phases of the build, in order; nothing where it has not noted them."""
    path = dataset / FOLDER / ORDER
    return path.read_text(encoding="utf-8").split() if path.is_file() else []


def begun(dataset: Path, phase: str) -> Begun | None:
    """Return how far a phase is; None if it has not begun. What it has fetched so far counts as taken in."""
    works = sorted((dataset / FOLDER).glob(f"{phase}-*/"), key=lambda path: path.stat().st_mtime_ns)
    if not works:
        return None
    notes = sorted(works[-1].glob(f"*/{TASKS}"), key=lambda path: path.stat().st_mtime_ns)
    accounts = [read_json(path) for path in (works[-1] / "counts").glob("*.json")]
    return Begun(
        state=_told(notes[-1]) if notes else "begun",
        documents_in=sum(each["documents_in"] for each in accounts) or _answered(dataset, phase),
        documents_out=sum(each["documents_out"] for each in accounts),
        dropped=sum(sum(each["dropped"].values()) for each in accounts),
    )


def _begun_names(dataset: Path) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in (dataset / FOLDER).glob("*-*/"))


def _row(dataset: Path, name: str, account: Mapping[str, Any] | None) -> tuple[str, ...]:
    if account:
        dropped = sum(account["dropped"].values())
        counts = (account["documents_in"], account["documents_out"], dropped)
        return (name, f"done in {numbers.duration(account['seconds'])}", *map(numbers.count, counts))
    work = begun(dataset, name)
    if work is None:
        return (name, "to do", "", "", "")
    return (name, work.state, *map(_so_far, (work.documents_in, work.documents_out, work.dropped)))


def _so_far(number: int) -> str:
    return f"{numbers.count(number)} so far" if number else ""


def _told(note: Path) -> str:
    tasks, complete = read_json(note), note.parent / "completions"
    number = len(list(complete.iterdir())) if complete.is_dir() else 0
    part = note.parent.name.partition("-")[2]
    told = f"{numbers.count(number)} of {numbers.count(tasks['tasks'])} tasks"
    return f"{part}: {told}" if part else told


def _answered(dataset: Path, phase: str) -> int:
    """Return the links that have an outcome while a phase fetches them: a line each in the journals."""
    pattern = {"fetch": "journal-*.jsonl", "commoncrawl": "commoncrawl-journal.jsonl"}.get(phase)
    return sum(map(_lines, (dataset / "pages").glob(pattern))) if pattern else 0


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(partial(file.read, _CHUNK_BYTES), b""))
