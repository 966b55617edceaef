"""A comparison's pictures as SVG: bars of all trials by dataset, and a line over transferred layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.formats.paper_gpt1 import TRANSFERRED_LAYERS
from pipeline.study.compared import Cell, Comparison
from pipeline.study.figures import HELD_OUT, INK, save
from pipeline.study.trials import Trial

# Okabe and Ito's palette, which colour-blind readers tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#cc79a7", "#7f7f7f")
BARS, LINE = "trials.svg", "transferred-layers.svg"
LAYERS = "transferred_layers"
NOTHING, EMBEDDINGS = "nothing", "embeddings"


def draw(folder: Path, found: Comparison, trials: Sequence[Trial]) -> None:
    """Write trials.svg and, where trials differ by the layers they transfer, transferred-layers.svg."""
    save(folder / BARS, partial(_bars, found))
    if layers := layers_of(trials):
        save(folder / LINE, partial(_line, found, layers))


def layers_of(trials: Sequence[Trial]) -> dict[str, int]:
    """Return the transferred layers of each trial, if that is how they differ: -1 nothing, 0 embeddings."""
    found = {trial.name: trial.finetune[LAYERS] for trial in trials if trial.finetune.get(LAYERS) is not None}
    return found if len(found) == len(trials) > 2 and len(set(found.values())) == len(trials) else {}


def _bars(found: Comparison, axes: Any) -> None:
    width = 0.8 / len(found.trials)
    for number, trial in enumerate(found.trials):
        cells = [found.main(trial, dataset) for dataset in found.datasets]
        there = [(place, cell) for place, cell in enumerate(cells) if cell]
        places = [place - 0.4 + width * (number + 0.5) for place, _ in there]
        colour = COLOURS[number % len(COLOURS)]
        axes.bar(places, [cell.median for _, cell in there], 0.9 * width, color=colour, label=trial)
        _errors(axes, places, [cell for _, cell in there])
        for place, (_, cell) in zip(places, there, strict=True):
            axes.plot([place] * len(cell.values), list(cell.values.values()), ".", color=INK, ms=4)
    for place, dataset in enumerate(found.datasets):
        chance = next((c.chance for c in found.cells if c.main and c.dataset == dataset), None)
        if chance is not None:
            axes.plot([place - 0.42, place + 0.42], [chance] * 2, "--", color=HELD_OUT, lw=1.2)
    axes.set_xticks(range(len(found.datasets)), [_named(found, dataset) for dataset in found.datasets])
    axes.axhline(0, color=INK, lw=0.8)
    axes.set_ylabel("median over seeds (dots: seeds; dashed: chance)")
    axes.grid(False, axis="x")
    axes.legend(fontsize=8)


def _line(found: Comparison, layers: dict[str, int], axes: Any) -> None:
    ordered = sorted(found.trials, key=layers.__getitem__)
    for number, dataset in enumerate(found.datasets):
        there = [(layers[t] + 1, cell) for t in ordered if (cell := found.main(t, dataset))]
        colour, places = COLOURS[number % len(COLOURS)], [place for place, _ in there]
        axes.plot(
            places, [c.median for _, c in there], "o-", color=colour, ms=4, label=_named(found, dataset)
        )
        _errors(axes, places, [cell for _, cell in there])
        paper = TRANSFERRED_LAYERS.get(dataset, ())
        if paper:
            label = f"{dataset}, GPT-1's paper (figure 2)"
            axes.plot(range(len(paper)), paper, "s--", color=colour, ms=3, alpha=0.5, label=label)
    ticks = sorted({value + 1 for value in layers.values()})
    names = {0: NOTHING, 1: EMBEDDINGS}
    axes.set_xticks(ticks, [names.get(tick, str(tick - 1)) for tick in ticks], fontsize=8)
    axes.set_xlabel("transferred: the embeddings and so many blocks")
    axes.set_ylabel("median over seeds, one standard error")
    axes.legend(fontsize=8)


def _errors(axes: Any, places: Sequence[float], cells: Sequence[Cell]) -> None:
    errors = [cell.error or 0.0 for cell in cells]
    axes.errorbar(
        places, [cell.median for cell in cells], yerr=errors, fmt="none", ecolor=INK, capsize=2, lw=1
    )


def _named(found: Comparison, dataset: str) -> str:
    cell = next((c for c in found.cells if c.main and c.dataset == dataset), None)
    return f"{dataset}\n{cell.metric}" if cell else dataset
