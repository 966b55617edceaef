"""A comparison of trials: the medians with their errors beside the paper's tables, and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.formats import glue
from pipeline.formats.paper_gpt1 import TRANSFERRED_LAYERS, figures
from pipeline.formats.paper_gpt1 import column as paper_column
from pipeline.report import numbers
from pipeline.report.canvas import Canvas, Mark
from pipeline.report.figure import Figure, draw
from pipeline.report.finetuned import named, points
from pipeline.report.palette import INK, MUTED, PAPER, Colour, ranked
from pipeline.report.section import Block, Heading, Note, Points, Section, Table
from pipeline.report.sources import Sources

NAME, TITLE = "comparison", "Trials side by side"
FILE, FOLDER = "comparison.json", "finetuned"
LAYERS = "transferred_layers"
FURTHER = (
    "Each fine-tuning has its curves, its confusion table and what it got wrong: `loglinear report` on a "
    f"folder of `{FOLDER}/`."
)

Cell = Mapping[str, Any]


def section(sources: Sources) -> Section:
    """Return the section, or how to carry the comparison to its end."""
    content = sources.extra(FILE)
    if content is None:
        remedy = f"no {FILE} here yet; the same `loglinear study CONFIG` goes on from where it stands"
        return Section(name=NAME, title=TITLE, remedy=remedy)
    if not content["datasets"]:  # nothing was fine-tuned
        return Section(name=NAME, title=TITLE)
    layers = _layers(sources.extra("plan.json") or {})
    # A bar for each layer would be many.
    blocks: list[Block] = [table(content), line(content, layers) if layers else bars(content)]
    told = [numbers.typeset(sentence) for sentence in content["summary"] if sentence != content["errors"]]
    blocks += [Heading("What the data say"), Points(told)]
    if differences := _differences(content):
        blocks.append(differences)
    if content["failures"]:
        failed = ", ".join(f"{name} ({count})" for name, count in sorted(content["failures"].items()))
        blocks.append(Note(f"Failed and tried again: {failed}."))
    return Section(name=NAME, title=TITLE, blocks=[*blocks, Note(FURTHER)])


def table(content: Mapping[str, Any]) -> Table:
    """Return a row for each trial, and below them those of the paper's Tables 2 to 5.

    Behind the datasets stand the averages of GLUE, where all their tasks are there.
    """
    columns, averages = _columns(content), _averages(content)
    cells = {(c["trial"], c["dataset"], c["split"], c["metric"]): c for c in content["cells"]}
    rows = [
        (
            trial,
            *(_shown(cells.get((trial, *column))) for column in columns),
            *(averaged(by_trial[trial]) for by_trial in averages.values()),
        )
        for trial in content["trials"]
    ]
    chances = {key[1:]: cell["chance"] for key, cell in cells.items()}
    guessed = [points(column[2], chances[column], "") for column in columns]
    rows.append(("guessing", *guessed, *("" for _ in averages)))
    printed = [(metric, figures(task, paper_column(split, metric))) for task, split, metric in columns]
    printed += [("accuracy", figures("glue", name)) for name in averages]
    for row in dict.fromkeys(name for _, told in printed for name in told):
        rows.append((f"paper: {row}", *(points(metric, told.get(row), "") for metric, told in printed)))
    heads = [_head(*column) for column in columns] + [f"{glue.TITLES[name]}, %" for name in averages]
    caption = (
        "Medians over seeds, on validation splits where no other is named; the paper's figures are of test "
        f"sets. {content['errors']}"
    )
    return Table(head=("", *heads), rows=rows, caption=caption)


def bars(content: Mapping[str, Any]) -> Figure:
    """Draw a group of bars for each dataset, lying, with errors, seeds as dots, and chance."""
    cells, trials, datasets = _main(content), content["trials"], content["datasets"]
    colours = dict(zip(trials, ranked(len(trials)), strict=True))
    thick = 0.72 / len(trials)

    def paint(canvas: Canvas) -> None:
        axes = canvas.axes
        for place, dataset in enumerate(datasets):
            axes.text(
                0, place - 0.4, f"{dataset}: {named(_metric(content, dataset)).removesuffix(', %')}",
                va="bottom", color=INK.sentinel, fontsize=11, transform=axes.get_yaxis_transform(),
            )  # fmt: skip
            for number, trial in enumerate(trials):
                if cell := cells.get((trial, dataset)):
                    y = place - 0.36 + thick * (number + 0.5)
                    _bar(canvas, cell, y, thick, colours[trial])
            chance = next((c["chance"] for (_, d), c in cells.items() if d == dataset), None)
            if chance is not None:
                ends = [place - 0.38, place + 0.38]
                axes.plot([100 * chance] * 2, ends, "--", color=MUTED.sentinel, lw=1.2)
                canvas.marks.append(Mark(series="guessing", name=dataset, x=100 * chance))
        axes.set_ylim(len(datasets) - 0.5, -0.75)
        axes.set_yticks([])
        axes.grid(False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("per cent")
        canvas.legend()

    height = 110 + len(datasets) * (34 + 16 * len(trials)) + 18 * len(trials)
    said = ". ".join(f"{trial} on {d}: {_shown(cells.get((trial, d)))}" for d in datasets for trial in trials)
    return draw(
        "trials", paint, title="Every trial on every dataset", description=said,
        caption="Medians over seeds with one standard error; dots are seeds, dashes what guessing gives.",
        heights=(height, height),
    )  # fmt: skip


def line(content: Mapping[str, Any], layers: Mapping[str, int]) -> Figure:
    """Draw the medians over transferred layers, and the paper's Figure 2 where it has the dataset."""
    cells, datasets = _main(content), content["datasets"]
    ordered = sorted((trial for trial in content["trials"] if trial in layers), key=layers.__getitem__)
    colours = dict(zip(datasets, ranked(len(datasets)), strict=True))

    def paint(canvas: Canvas) -> None:
        axes = canvas.axes
        for dataset in datasets:
            there = [
                (layers[trial] + 1, cells[trial, dataset]) for trial in ordered if (trial, dataset) in cells
            ]
            colour = colours[dataset]
            xs, ys = [x for x, _ in there], [100 * cell["median"] for _, cell in there]
            canvas.line(dataset, xs, ys, colour)
            canvas.points(dataset, xs, ys, colour, is_filled=True, quiet=True)
            for (x, cell), y in zip(there, ys, strict=True):
                if cell["error"] is not None:
                    error = 100 * cell["error"]
                    canvas.reach(dataset, x, y, y - error, y + error, colour, quiet=True)
            if paper := TRANSFERRED_LAYERS.get(dataset):
                figures = [100 * each for each in paper]
                canvas.points(
                    f"{dataset}, the paper's figure 2", range(len(paper)), figures, colour, marker="s"
                )
        papers = [len(paper) for dataset in datasets if (paper := TRANSFERRED_LAYERS.get(dataset))]
        ticks = sorted({value + 1 for value in layers.values()}.union(*map(range, papers)))
        names = {0: "nothing", 1: "embeddings"}
        axes.set_xticks(ticks, [names.get(tick, str(tick - 1)) for tick in ticks], rotation=30)
        axes.set_xlabel("transferred: embeddings and so many blocks")
        axes.set_ylabel("per cent")
        canvas.legend()

    return draw(
        "transferred-layers", paint, title="What each transferred layer brings",
        description=". ".join(
            f"{trial} on {d}: {_shown(cells.get((trial, d)))}" for d in datasets for trial in ordered
        ),
        caption="Medians over seeds with one standard error; squares are the paper's, read off its figure.",
        heights=(430, 390),
    )  # fmt: skip


def _bar(canvas: Canvas, cell: Cell, y: float, thick: float, colour: Colour) -> None:
    trial, dataset = cell["trial"], cell["dataset"]
    error = None if cell["error"] is None else 100 * cell["error"]
    is_shown = all(mark.series != trial for mark in canvas.marks)
    canvas.lying(trial, dataset, y, 100 * cell["median"], thick, colour, error=error, quiet=not is_shown)
    seeds = {seed: 100 * value for seed, value in cell["values"].items()}
    canvas.axes.plot(
        list(seeds.values()), [y] * len(seeds), "o", markersize=3.6, markerfacecolor=PAPER.sentinel,
        markeredgecolor=INK.sentinel, markeredgewidth=0.8,
    )  # fmt: skip
    canvas.marks.extend(
        Mark(series=f"{trial}, seeds", name=f"{dataset}, seed {seed}", x=value)
        for seed, value in seeds.items()
    )


def averaged(average: Mapping[str, Any]) -> str:
    """Return an average over tasks as the paper prints it, with its error."""
    error = "" if average["stderr"] is None else f" ± {points('accuracy', average['stderr'])}"
    return f"{points('accuracy', average['value'])}{error}"


def _averages(content: Mapping[str, Any]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return the averages that have all their tasks, by name and trial."""
    by_trial: Mapping[str, Sequence[Mapping[str, Any]]] = content.get("averages", {})
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for trial, averages in by_trial.items():
        for average in averages:
            if average["value"] is not None:
                found.setdefault(average["name"], {})[trial] = average
    return {name: each for name, each in found.items() if len(each) == len(content["trials"])}


def _columns(content: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return dataset, split and metric of what chose the best epochs, and of what else the paper prints."""
    found = dict.fromkeys(
        (cell["dataset"], cell["split"], cell["metric"])
        for cell in sorted(content["cells"], key=lambda cell: not cell["main"])
        if cell["main"] or figures(cell["dataset"], paper_column(cell["split"], cell["metric"]))
    )
    return sorted(found, key=lambda column: content["datasets"].index(column[0]))


def _head(dataset: str, split: str, metric: str) -> str:
    where = " ".join(split.split("_")).removeprefix("validation").strip()
    return f"{dataset}: {named(metric)}{f' ({where})' if where else ''}"


def _main(content: Mapping[str, Any]) -> dict[tuple[str, str], Cell]:
    return {(cell["trial"], cell["dataset"]): cell for cell in content["cells"] if cell["main"]}


def _metric(content: Mapping[str, Any], dataset: str) -> str:
    return next((c["metric"] for (_, d), c in _main(content).items() if d == dataset), "accuracy")


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return numbers.MISSING
    error = "" if cell["error"] is None else f" ± {points(cell['metric'], cell['error'])}"
    chance = f", {cell['told']}" if cell["told"] in ("at chance", "below chance") else ""
    return f"{points(cell['metric'], cell['median'])}{error}{chance}"


def _differences(content: Mapping[str, Any]) -> Table | None:
    """Return how far each trial is from the first, with the errors of both; None where there is but one."""
    if len(content["trials"]) < 2:
        return None
    cells = _main(content)
    rows = []
    for trial in content["trials"][1:]:
        told = []
        for dataset in content["datasets"]:
            cell = cells.get((trial, dataset))
            if cell is None or cell["difference"] is None:
                told.append(numbers.MISSING)
                continue
            error = points(cell["metric"], cell["difference_error"], "?")
            told.append(f"{points(cell['metric'], cell['difference'])} ± {error}")
        rows.append((trial, *told))
    head = (f"less {content['trials'][0]}", *content["datasets"])
    return Table(head=head, rows=rows, caption="Differences of means over seeds, with the errors of both.")


def _layers(plan: Mapping[str, Any]) -> dict[str, int]:
    """Return the transferred layers of each trial, if that is how all of them differ."""
    jobs: Sequence[Mapping[str, Any]] = plan.get("finetunings", ())
    found = {job["trial"]: job["finetune"].get(LAYERS) for job in jobs}
    values = set(found.values())
    return found if None not in values and len(values) == len(found) > 2 else {}
