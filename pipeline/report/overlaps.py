"""What tests and the models' texts share with the training documents: Table 6 and Figure 5 of the GPT-2
paper, and the figures without the examples that overlap.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.formats.paper import OWN_TRAINING, PAPER, WEBTEXT, title_of
from pipeline.formats.results import RECORDS_SUFFIX, read_records
from pipeline.report import numbers
from pipeline.report.canvas import Canvas
from pipeline.report.evaluation import NO_OVERLAP, Score, scores_of, shown, words
from pipeline.report.figure import Figure, draw
from pipeline.report.palette import ACCENT, INK, MUTED, SECOND
from pipeline.report.section import Section, Table
from pipeline.report.sources import Sources, Trained

NAME, TITLE = "overlap", "What tests share with the training text"
TASK, SHARED, OWN = "overlap", "shared_", "own_training_"
GENERATIONS, HELD_OUT_TEXT = "generations", "held_out_text"
MOST_STRETCHES = 4
CHARACTERS = 300


def section(sources: Sources) -> Section:
    """Return the section, or how to make what it needs: of the largest model that has it."""
    evaluated = [trained for trained in sources.runs if any(s.task == TASK for s in scores_of(trained))]
    if not evaluated:
        remedy = "no overlap here; `loglinear evaluate` with the task `overlap` and corpus=DATASET counts it"
        return Section(name=NAME, title=TITLE, remedy=remedy)
    trained = evaluated[-1]
    scores = {score.metric: score for score in scores_of(trained) if score.task == TASK}
    records = _records(trained)
    without, whole = _without(trained)
    values = {
        "shares": _shares(scores),
        "without": without,
        "whole": whole,
        "figure": _figure(records),
        "told": _told(scores),
        "stretches": _stretches(records),
        "protocol": next(iter(scores.values())).protocol,
    }
    return Section(name=NAME, title=TITLE, template="overlap.html.j2", values=values)


def _shares(scores: Mapping[str, Score]) -> Table | None:
    """Return Table 6: of each task the share of its n-grams that training text has too."""
    tasks = [
        metric.removeprefix(SHARED)
        for metric in scores
        if metric.startswith(SHARED) and not metric.startswith((SHARED + GENERATIONS, SHARED + HELD_OUT_TEXT))
    ]
    rows = [
        (
            title_of(task),
            _percent(scores[SHARED + task]),
            _printed(SHARED + task, WEBTEXT),
            _percent(scores[OWN + task]) if OWN + task in scores else "",
            _printed(OWN + task, OWN_TRAINING),
        )
        for task in tasks
    ]
    head = ("task", "our training text", "paper: WebText", "its own training text", "paper: its own")
    caption = "Share of the 8-grams of a task's examples that the training text has too."
    return Table(head=head, rows=rows, caption=caption) if rows else None


def _percent(score: Score) -> str:
    """Return a share to the places that Table 6 has."""
    value, error = (None if each is None else 100 * each for each in (score.value, score.stderr))
    return numbers.measured(value, error, 2) + "\u00a0%"


def _printed(metric: str, label: str) -> str:
    found = PAPER.get((TASK, metric))
    return numbers.percent(found.figures[label], 2) if found else ""


def _without(trained: Trained) -> tuple[Table | None, list[str]]:
    """Return each figure of all examples beside that of the examples without overlap; and the tasks that no
    example was left out of.
    """
    every = {(score.task, score.metric): score for score in scores_of(trained)}
    known = {task for task, _ in PAPER}
    rows: list[tuple[str, ...]] = []
    whole: dict[str, None] = {}
    for score in scores_of(trained, NO_OVERLAP):
        key = (score.task, score.metric)
        if key not in every or (score.task in known and key not in PAPER):
            continue
        left_out = (every[key].examples or 0) - (score.examples or 0)
        if left_out:
            name = words(".".join(key))
            rows.append((name, shown(every[key]), shown(score), numbers.count(left_out)))
        else:
            whole[title_of(score.task)] = None
    head = ("metric", "all examples", "without overlap", "examples left out")
    return Table(head=head, rows=rows) if rows else None, list(whole)


def _records(trained: Trained) -> list[dict[str, Any]]:
    files = [path for folder in trained.result_folders if (path := _file(folder)).is_file()]
    return read_records(files[-1]) if files else []


def _file(folder: Path) -> Path:
    return folder / f"{TASK}{RECORDS_SUFFIX}"


def _percents(records: Sequence[Mapping[str, Any]], of: str) -> list[float]:
    return sorted(100 * row["shared"] / row["ngrams"] for row in records if row["of"] == of and row["ngrams"])


def _figure(records: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Draw Figure 5: how many texts share at most so much with the training text."""
    series = {
        "held-out text": (_percents(records, HELD_OUT_TEXT), SECOND),
        "texts of the model": (_percents(records, GENERATIONS), ACCENT),
    }
    drawn = {name: found for name, found in series.items() if found[0]}
    if not drawn:
        return None
    most = max(values[-1] for values, _ in drawn.values()) or 1.0

    def paint(canvas: Canvas) -> None:
        axes = canvas.axes
        for name, (values, colour) in drawn.items():
            heights = [100 * (n + 1) / len(values) for n in range(len(values))]
            xs, ys = [0.0, *values, most], [0.0, *heights, 100.0]
            stairs = [ys[0], *(y for y in ys[:-1] for _ in (0, 1)), ys[-1]]  # level up to the next text
            canvas.line(name, [x for x in xs for _ in (0, 1)], stairs, colour, width=1.5)
        axes.set_xlim(0, most)
        axes.set_ylim(0, 101)
        axes.set_xlabel("share of 8-grams that training text has, %")
        axes.set_ylabel("texts, %")
        axes.legend(loc="lower right", labelcolor=INK.sentinel)
        axes.tick_params(color=MUTED.sentinel)

    said = "; ".join(
        f"{name}: {len(values)} texts, median {statistics.median(values):.2f} %, "
        f"{100 * sum(value == 0 for value in values) / len(values):.0f} % of them without overlap"
        for name, (values, _) in drawn.items()
    )
    return draw(
        "overlap", paint, title="Overlap with the training text", description=said,
        caption="Share of texts that have at most so much overlap with the training text, as the paper's "
        f"Figure 5 draws it; {said}.",
        heights=(300, 260),
    )  # fmt: skip


def _told(scores: Mapping[str, Score]) -> list[tuple[str, str]]:
    """Return the figures of Figure 5, with the paper's."""
    names = {
        f"{SHARED}{HELD_OUT_TEXT}_median": "held-out text, median share",
        f"{SHARED}{HELD_OUT_TEXT}_none": "held-out text without overlap",
        f"{SHARED}{GENERATIONS}_median": "texts of the model, median share",
        f"{SHARED}{GENERATIONS}_none": "texts of the model without overlap",
    }
    found = []
    for metric, name in names.items():
        if metric in scores:
            printed = _printed(metric, WEBTEXT)
            paper = f" (paper: {printed})" if printed else ""
            found.append((name, _percent(scores[metric]) + paper))
    return found


def _stretches(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the longest stretches of tests that stand in the training text, one for each example."""
    tests = [row for row in records if row["of"] not in (GENERATIONS, HELD_OUT_TEXT) and row["longest"]]
    longest = sorted(tests, key=lambda row: (-len(row["longest"].split()), row["number"]))
    return [
        (
            f"{title_of(row['of'])}, example {row['of_number']}, "
            f"{len(row['longest'].split())} words in a row",
            row["longest"][:CHARACTERS] + (" …" if len(row["longest"]) > CHARACTERS else ""),
        )
        for row in longest[:MOST_STRETCHES]
    ]
