"""A comparison of trials: the medians with their errors beside the paper's tables, and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.formats.paper_gpt1 import PAPER, TRANSFERRED_LAYERS
from pipeline.report import numbers, palette
from pipeline.report.figure import Canvas, Figure, draw
from pipeline.report.finetuned import named, points
from pipeline.report.palette import INK, MUTED, ranked
from pipeline.report.section import Section, Table
from pipeline.report.sources import Sources

NAME, TITLE = "comparison", "Trials side by side"
FILE, FOLDER = "comparison.json", "finetuned"
LAYERS = "transferred_layers"

Cell = Mapping[str, Any]


def section(sources: Sources) -> Section:
    """Return the section, or how to carry the comparison to its end."""
    content = sources.extra(FILE)
    if content is None:
        remedy = f"no {FILE} here yet; the same `loglinear study CONFIG` goes on from where it stands"
        return Section(name=NAME, title=TITLE, remedy=remedy)
    plan = sources.extra("plan.json") or {}
    layers = _layers(plan)
    figures = [line(content, layers) if layers else bars(content)]  # a bar for each layer would be many
    values = {
        "table": table(content),
        "summary": content["summary"],
        "figures": figures,
        "failures": sorted(content["failures"].items()),
        "differences": _differences(content),
        "folder": FOLDER,
    }
    return Section(name=NAME, title=TITLE, template="comparison.html.j2", values=values)


def table(content: Mapping[str, Any]) -> Table:
    """Return a row for each trial, and below them those of the paper's Tables 2 to 5."""
    cells = _main(content)
    metrics = {dataset: _metric(content, dataset) for dataset in content["datasets"]}
    rows = [
        (trial, *(_shown(cells.get((trial, dataset))) for dataset in content["datasets"]))
        for trial in content["trials"]
    ]
    chances = [next((c["chance"] for (_, d), c in cells.items() if d == each), None) for each in metrics]
    guessed = [points(m, c, "") for m, c in zip(metrics.values(), chances, strict=True)]
    rows.append(("guessing", *guessed))
    printed = {dataset: PAPER.get((dataset, metric), {}) for dataset, metric in metrics.items()}
    for row in dict.fromkeys(name for figures in printed.values() for name in figures):
        shown = [points(metrics[each], printed[each].get(row), "") for each in metrics]
        rows.append((f"paper: {row}", *shown))
    head = ("", *(f"{dataset}: {named(metric)}" for dataset, metric in metrics.items()))
    return Table(
        head=head, rows=rows, caption=f"Medians over seeds on validation splits. {content['errors']}"
    )


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
                    label = trial if place == 0 else None
                    _bar(axes, cell, y, thick, colours[trial].sentinel, label)
            chance = next((c["chance"] for (_, d), c in cells.items() if d == dataset), None)
            if chance is not None:
                axes.plot(
                    [100 * chance] * 2, [place - 0.38, place + 0.38], "--", color=MUTED.sentinel, lw=1.2
                )
        axes.set_ylim(len(datasets) - 0.5, -0.75)
        axes.set_yticks([])
        axes.grid(False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("per cent")
        columns = 1 if canvas.is_narrow else 3
        axes.legend(fontsize=9.5, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns)

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
            xs, values = [x for x, _ in there], [100 * cell["median"] for _, cell in there]
            errors = [100 * (cell["error"] or 0.0) for _, cell in there]
            colour = colours[dataset].sentinel
            axes.errorbar(xs, values, yerr=errors, fmt="o-", color=colour, lw=1.4, capsize=2, label=dataset)
            if paper := TRANSFERRED_LAYERS.get(dataset):
                label = f"{dataset}, the paper's figure 2"
                axes.plot(
                    range(len(paper)), [100 * each for each in paper], "s", color=MUTED.sentinel, label=label
                )
        ticks = sorted({value + 1 for value in layers.values()})
        names = {0: "nothing", 1: "embeddings"}
        axes.set_xticks(ticks, [names.get(tick, str(tick - 1)) for tick in ticks], rotation=30)
        axes.set_xlabel("transferred: embeddings and so many blocks")
        axes.set_ylabel("per cent")
        axes.legend(fontsize=9.5)

    return draw(
        "transferred-layers", paint, title="What each transferred layer brings", description="",
        caption="Medians over seeds with one standard error; squares are the paper's, read off its figure.",
    )  # fmt: skip


def _bar(axes: Any, cell: Cell, y: float, thick: float, colour: str, label: str | None) -> None:
    axes.barh(y, 100 * cell["median"], height=0.86 * thick, color=colour, linewidth=0, label=label)
    error = 100 * (cell["error"] or 0.0)
    middle = 100 * cell["median"]
    axes.plot([middle - error, middle + error], [y, y], color=INK.sentinel, lw=1.1)
    values = [100 * value for value in cell["values"].values()]
    axes.plot(
        values, [y] * len(values), "o", markersize=3.6, markerfacecolor=palette.PAPER.sentinel,
        markeredgecolor=INK.sentinel, markeredgewidth=0.8,
    )  # fmt: skip


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
    """Return how far each trial is from the first, with the errors of both."""
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
