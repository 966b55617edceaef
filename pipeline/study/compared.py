"""What fine-tunings came to, trial beside trial: medians over seeds, differences, and chance as chance.

The standard error of a figure has two parts, which are added as squares: the scatter of its seeds (their
standard deviation over the root of their number) and what other examples would have given. The difference of
two trials has the errors of both, as if they had been judged on different examples, which errs on the
careful side. One network was pre-trained for each trial: how others would scatter is not in the errors.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from pipeline.formats import glue
from pipeline.formats.summary import Figure, Summary
from pipeline.metrics import Estimate
from pipeline.study.collect import JUDGED
from pipeline.study.finetuning import FineTuning
from pipeline.study.trials import Trial

FORMAT = 1
CERTAIN = 2.0  # standard errors
CHANCE = {-1: "below chance", 0: "at chance", 1: "above chance"}
ERRORS = (
    "After ± stands one standard error, of the scatter over seeds and of the examples together; at chance is "
    f"what lies within {CERTAIN:g} of them of what guessing gives. Each network was pre-trained once."
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A metric of a trial on a dataset's split. What is not known is None; `error` is of the mean.

    `difference` is from the first trial's mean; `told` says above, at or below chance. `main` is the metric
    by which the best epoch was chosen, on the split that it was chosen by.
    """

    trial: str
    dataset: str
    split: str
    metric: str
    main: bool
    values: dict[str, float]
    median: float
    low: float
    high: float
    mean: float
    error: float | None
    num_examples: int
    chance: float | None
    told: str | None
    difference: float | None
    difference_error: float | None
    paper: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All figures, in the order of trials and datasets, the averages of GLUE by trial, and what they say."""

    trials: tuple[str, ...]
    datasets: tuple[str, ...]
    cells: tuple[Cell, ...]
    averages: Mapping[str, tuple[glue.Average, ...]]
    summary: tuple[str, ...]
    errors: str = ERRORS
    format: int = FORMAT

    def main(self, trial: str, dataset: str) -> Cell | None:
        """Return the figure that a table shows of a trial and a dataset."""
        return next((c for c in self.cells if c.main and (c.trial, c.dataset) == (trial, dataset)), None)

    def as_json(self) -> dict[str, Any]:
        """Return the content of comparison.json."""
        return asdict(self)

    def csv(self) -> str:
        """Return comparison.csv: a row for each figure; a value that is missing is empty."""
        text = io.StringIO()
        names = [each.name for each in fields(Cell)]
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        for cell in self.cells:
            row = asdict(cell) | {"values": " ".join(f"{s}:{v}" for s, v in cell.values.items())}
            writer.writerows([{key: "" if value is None else value for key, value in row.items()}])
        return text.getvalue()

    def table(self) -> list[str]:
        """Return the medians as lines for people: a line for each trial, a column for each dataset.

        Behind them stand the averages of GLUE, where all their tasks are there.
        """
        columns = [(self._head(d), [_shown(self.main(t, d)) for t in self.trials]) for d in self.datasets]
        for name, title in glue.TITLES.items():
            found = [each for t in self.trials for each in self.averages[t] if each.name == name]
            if found and all(each.value is not None for each in found):
                columns.append((title, [_measured(each.value or 0.0, each.stderr) for each in found]))
        first = max(len(trial) for trial in self.trials) + 2
        lines = [" " * first, *(f"{trial:<{first}}" for trial in self.trials)]
        for head, shown in columns:
            width = max(len(head), 24) + 2
            lines = [f"{line}{text:>{width}}" for line, text in zip(lines, [head, *shown], strict=True)]
        return lines

    def _head(self, dataset: str) -> str:
        cell = next((c for c in self.cells if c.main and c.dataset == dataset), None)
        return f"{dataset} {cell.metric}" if cell else dataset


def compared(
    jobs: Sequence[FineTuning], summaries: Mapping[str, Summary], trials: Sequence[Trial]
) -> Comparison:
    """Return the comparison of finished fine-tunings, by their summaries."""
    names = tuple(trial.name for trial in trials)
    rows = {trial.name: trial.paper for trial in trials}
    first: dict[tuple[str, str, str], Cell] = {}
    cells = []
    for job in sorted(jobs, key=lambda job: names.index(job.trial)):
        for figure in summaries[job.name].figures:
            key = (job.dataset, figure.split, figure.metric)
            cell = _cell(job, figure, first.get(key), rows[job.trial])
            first.setdefault(key, cell) if job.trial == names[0] else None
            cells.append(cell)
    datasets = tuple(dict.fromkeys(job.dataset for job in jobs))
    averages = {name: glue.averages(_estimates(name, cells)) for name in names}
    return Comparison(
        trials=names,
        datasets=datasets,
        cells=tuple(cells),
        averages=averages,
        summary=(*_summary(names, datasets, cells), *_of_glue(averages[names[0]]), ERRORS) if cells else (),
    )


def beside_chance(value: float, error: float | None, chance: float | None) -> str | None:
    """Return on which side of chance a figure is; of one without an error only that it is chance itself.

    A correlation with what is always the same class is 0 and has no error.
    """
    if chance is None or (error is None and value != chance):
        return None
    return CHANCE[_side(value - chance, error)]


def _cell(job: FineTuning, figure: Figure, first: Cell | None, row: str) -> Cell:
    values = list(figure.values.values())
    error = _root(figure.stderr, None if figure.sd is None else figure.sd / math.sqrt(len(values)))
    return Cell(
        trial=job.trial,
        dataset=job.dataset,
        split=figure.split,
        metric=figure.metric,
        main=(figure.split, figure.metric) == (JUDGED, job.metric),
        values=dict(figure.values),
        median=figure.median,
        low=min(values),
        high=max(values),
        mean=figure.mean,
        error=error,
        num_examples=figure.num_examples,
        chance=figure.chance,
        told=beside_chance(figure.mean, error, figure.chance),
        difference=figure.mean - first.mean if first else None,
        difference_error=_root(error, first.error) if first else None,
        paper=figure.paper.get(row) if row else None,
    )


def _root(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return math.sqrt(math.fsum(part**2 for part in known)) if known else None


def _side(difference: float, error: float | None) -> int:
    """Return whether a difference is certain, and to which side: -1, 0 or 1."""
    if error is None or abs(difference) <= CERTAIN * error:
        return 0
    return 1 if difference > 0 else -1


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return "missing"
    return f"{_measured(cell.median, cell.error)}{' at chance' if cell.told == CHANCE[0] else ''}"


def _measured(value: float, error: float | None) -> str:
    return f"{value:.3f}" if error is None else f"{value:.3f} ± {error:.3f}"


def _estimates(trial: str, cells: Sequence[Cell]) -> dict[str, dict[glue.Column, Estimate]]:
    """Return the medians of a trial as estimates, by dataset."""
    found: dict[str, dict[glue.Column, Estimate]] = {}
    for cell in cells:
        if cell.trial == trial:
            estimate = Estimate(cell.median, cell.error, cell.num_examples)
            found.setdefault(cell.dataset, {})[cell.split, cell.metric] = estimate
    return found


def _of_glue(averages: Sequence[glue.Average]) -> list[str]:
    """Return how averages are computed, or what is missing for them; every trial has the same datasets."""
    if missing := glue.without(averages):
        return [missing]
    return [f"{average.told}." for average in averages]


def _summary(names: Sequence[str], datasets: Sequence[str], cells: Sequence[Cell]) -> list[str]:
    main = {(cell.trial, cell.dataset): cell for cell in cells if cell.main}
    said = []
    for trial in names[1:]:
        told: dict[int, list[str]] = {1: [], -1: [], 0: []}
        for dataset in datasets:
            cell = main.get((trial, dataset))
            if cell is not None and cell.difference is not None:
                error = "" if cell.difference_error is None else f" ± {cell.difference_error:.3f}"
                side = _side(cell.difference, cell.difference_error)
                told[side].append(f"{dataset} ({cell.metric} {cell.difference:+.3f}{error})")
        parts = [
            f"{words} {', '.join(told[side])}"
            for side, words in ((1, "better on"), (-1, "worse on"), (0, "not told apart on"))
            if told[side]
        ]
        said.append(f"{trial} beside {names[0]}: {'; '.join(parts)}.")
    return said + _of_chance(names, datasets, main)


def _of_chance(
    names: Sequence[str], datasets: Sequence[str], main: Mapping[tuple[str, str], Cell]
) -> list[str]:
    said = []
    for words in (CHANCE[0], CHANCE[-1]):
        found = {
            trial: [d for d in datasets if (trial, d) in main and main[trial, d].told == words]
            for trial in names
        }
        listed = [f"{trial} on {', '.join(on)}" for trial, on in found.items() if on]
        if listed:
            said.append(f"{words.capitalize()}: {'; '.join(listed)}.")
    return said
