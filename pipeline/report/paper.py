"""The GPT-2 paper's tables with our figures beside them, on the page and as Markdown for a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.formats.paper import NO_MODEL, PAPER, SIZES, Published
from pipeline.report import numbers
from pipeline.report.evaluation import Score, is_share, scores_of
from pipeline.report.paper_bars import bars, measure
from pipeline.report.section import Section, Table
from pipeline.report.sources import Sources, Trained

NAME, TITLE = "paper", "Beside the GPT-2 paper"
FILE = "paper.md"
OVERLAP = "overlap"  # has a section of its own
READ_OFF = "≈"
HUGE = 1e6


@dataclass(frozen=True, kw_only=True)
class Row:
    """One of the paper's figures and ours of the same task and metric, by the names of our models."""

    task: str
    metric: str
    published: Published
    ours: Mapping[str, Score]


def section(sources: Sources) -> Section:
    """Return the section of a directory that has rows."""
    found = rows(sources.runs)
    values = {
        "table": table(found),
        "figures": bars(found),
        "notes": _notes(found),
        "absent": _absent(found),
        "protocols": _protocols(found),
        "markdown": FILE,
    }
    return Section(name=NAME, title=TITLE, template="paper.html.j2", values=values)


def rows(runs: Sequence[Trained]) -> list[Row]:
    """Return the rows that we have a figure for, in the order in which the paper comes to them."""
    ours: dict[tuple[str, str], dict[str, Score]] = {}
    for trained in runs:
        for score in scores_of(trained):
            ours.setdefault((score.task, score.metric), {})[trained.name] = score
    return [
        Row(task=task, metric=metric, published=published, ours=ours[task, metric])
        for (task, metric), published in PAPER.items()
        if (task, metric) in ours and task != OVERLAP
    ]


def table(found: Sequence[Row]) -> Table:
    """Return the rows as people read them: ours, then the paper's models."""
    names = _names(found)
    lines = []
    for row in found:
        ours = [_ours(row, name) for name in names]
        theirs = [_theirs(row, size) for size in SIZES]
        lines.append((f"{row.published.title}, {measure(row.metric)}", *ours, *theirs, _elsewhere(row)))
    caption = (
        f"The paper's figures stand as it prints them, with {READ_OFF} where they were read off a drawing; "
        "after ± stands one standard error of ours."
    )
    head = ("task and metric", *names, *SIZES, "best before, or no model")
    return Table(head=head, rows=lines, caption=caption)


def markdown(found: Sequence[Row]) -> str:
    """Return the table for a paper, with how each of our figures was measured below it."""
    shown = table(found)
    cells = [shown.head, ["---"] * shown.labels + ["---:"] * (len(shown.head) - shown.labels), *shown.rows]
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|").replace("\u00a0", " ") for cell in row) + " |"
        for row in cells
    ]
    notes = [f"- {title}: {text}" for title, text in _notes(found)]
    measured = [f"- {task}, {number} examples: {protocol}" for task, number, protocol in _protocols(found)]
    blocks = [lines, [shown.caption], notes, ["How ours were measured:"], measured]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def markdown_path(sources: Sources) -> Path:
    """Return where the Markdown belongs: with a run's results, else in the directory itself."""
    return (sources.runs[0].run.results if sources.kind == "run" else sources.root) / FILE


def _names(found: Sequence[Row]) -> list[str]:
    """Return the names of our models, in the order of their sizes."""
    sizes = {name: score.params or 0 for row in found for name, score in row.ours.items()}
    return sorted(sizes, key=lambda name: (sizes[name], name))


def _theirs(row: Row, label: str) -> str:
    value = row.published.figures.get(label)
    if value is None:
        return ""
    return (READ_OFF if label in row.published.read_off else "") + _figure(row.metric, value)


def _elsewhere(row: Row) -> str:
    value = row.published.figures.get(NO_MODEL, row.published.before)
    return "" if value is None else _figure(row.metric, value)


def _ours(row: Row, name: str) -> str:
    score = row.ours.get(name)
    if score is None:
        return numbers.MISSING
    scale = 100 if is_share(row.metric) else 1
    value = None if numbers.is_missing(score.value) else scale * (score.value or 0.0)
    error = None if score.stderr is None else scale * score.stderr
    if (value or 0) >= HUGE:
        return numbers.number(value, 2)  # of a model that has learnt nothing; its error says no more
    return numbers.measured(value, error, 2 if (value or 0) < 1000 else 0)


def _figure(metric: str, value: float) -> str:
    return numbers.fixed(100 * value if is_share(metric) else value, 2)


def _notes(found: Sequence[Row]) -> list[tuple[str, str]]:
    """Return where the paper's figures stand, and what one must know to compare, each once by title."""
    told: dict[str, dict[str, None]] = {}
    for row in found:
        place = f"{measure(row.metric).removesuffix(', %')} from {row.published.where}"
        about = told.setdefault(row.published.title, {})
        about.setdefault(f"{place}; {row.published.note}" if row.published.note else place)
    return [(title, "; ".join(about)) for title, about in told.items()]


def _absent(found: Sequence[Row]) -> list[str]:
    """Return the paper's tasks that we have no figure of."""
    have = {row.task for row in found}
    titles: dict[str, str] = {}
    for (task, _), published in PAPER.items():
        titles.setdefault(task, published.title)
    return [title for task, title in titles.items() if task not in have and task != OVERLAP]


def _protocols(found: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Return task, number of examples (the most that a figure has) and protocol, each that differs once."""
    told: dict[tuple[str, str], int] = {}
    for score in (score for row in found for score in row.ours.values() if score.protocol):
        key = (score.task, score.protocol)
        told[key] = max(told.get(key, 0), score.examples or 0)
    return [(task, numbers.count(examples), protocol) for (task, protocol), examples in told.items()]
