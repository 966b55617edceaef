"""Texts that the models wrote: a few for each size, by an evaluation or, without one, while they trained."""

from __future__ import annotations

from typing import Any

from pipeline.formats.results import read_records
from pipeline.report import numbers
from pipeline.report.curves import size_label
from pipeline.report.section import Section
from pipeline.report.sources import Sources, Trained

NAME, TITLE = "samples", "What the models write"
TASK = "samples"
EACH = 2  # from nothing, and from the beginning of a document
CHARACTERS = 900


def section(sources: Sources) -> Section:
    """Return the section, or how to make samples."""
    shown: dict[str, dict[str, Any]] = {}
    for trained in sources.runs:
        if texts := _texts(trained):
            size = size_label(trained)
            shown.setdefault(size, {"size": size, "params": numbers.count(trained.params), "texts": texts})
    if not shown:
        remedy = (
            "no samples; `loglinear evaluate` with the task `samples` makes them, `loglinear sample` one,"
            " and `train` does with samples.every_steps"
        )
        return Section(name=NAME, title=TITLE, remedy=remedy)
    return Section(name=NAME, title=TITLE, template="samples.html.j2", values={"sizes": list(shown.values())})


def _texts(trained: Trained) -> list[dict[str, str]]:
    files = [path for folder in trained.result_folders if (path := folder / f"{TASK}.jsonl.zst").is_file()]
    rows = read_records(files[-1]) if files else _drawn_last(trained)
    free, begun = [row for row in rows if not row["prompt"]], [row for row in rows if row["prompt"]]
    return [_shown(row) for row in free[:EACH] + begun[:EACH]]


def _drawn_last(trained: Trained) -> list[dict[str, Any]]:
    """Return the rows of the last step that drew samples while the model trained."""
    rows = [row for row in trained.run.rows() if row.get("event") == "sample"]
    return [row for row in rows if row["step"] == rows[-1]["step"]]


def _shown(row: dict[str, Any]) -> dict[str, str]:
    text = str(row["text"])
    return {
        "prompt": str(row["prompt"]),
        "text": text[:CHARACTERS] + (" …" if len(text) > CHARACTERS else ""),
    }
