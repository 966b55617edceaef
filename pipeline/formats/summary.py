"""`summary.json`: what a fine-tuning's seeds came to, with their spread."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.publish import read_format, write_json
from pipeline.formats.results import Result

FORMAT = 1
NAME = "summary.json"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A metric of a split over seeds: the value of each, their median, mean and standard deviation.

    `stderr` is the mean of the errors that the examples alone would leave; `sd` is None for one seed.
    """

    split: str
    metric: str
    values: dict[str, float]
    median: float
    mean: float
    sd: float | None
    stderr: float | None
    num_examples: int
    chance: float | None
    paper: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A finished fine-tuning; `inputs` are the hashes of network and data."""

    task: str
    config_hash: str
    inputs: dict[str, Any]
    figures: tuple[Figure, ...]
    format: int = FORMAT

    def write(self, directory: Path) -> None:
        """Publish the summary."""
        write_json(directory / NAME, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Summary:
        """Return a summary; FormatError if the file is missing or is none."""
        values = read_format(path, FORMAT, "fine-tune again")
        try:
            figures = tuple(Figure(**figure) for figure in values.pop("figures"))
            return cls(figures=figures, **values)
        except (KeyError, TypeError, AttributeError) as fault:
            raise FormatError(f"{path}: {fault}; fine-tune again") from None


def summarised(
    results: Mapping[int, Sequence[Result]], chance: Mapping[tuple[str, str], float]
) -> tuple[Figure, ...]:
    """Return the figures of all seeds' results; a result's subset is its split.

    `chance` is what guessing gives, by split and metric, where that is known.
    """
    gathered: dict[tuple[str, str], dict[int, Result]] = {}
    for seed, found in results.items():
        for result in found:
            gathered.setdefault((result.subset, result.metric), {})[seed] = result
    return tuple(
        _figure(split, metric, by_seed, chance.get((split, metric)))
        for (split, metric), by_seed in gathered.items()
    )


def table(summary: Summary) -> str:
    """Return one line for each figure: median, spread over seeds, and what chance and the paper have."""
    lines = []
    for figure in summary.figures:
        spread = "one seed" if figure.sd is None else f"sd {figure.sd:.4f} over {len(figure.values)} seeds"
        others = [f"chance {figure.chance:.4f}"] if figure.chance is not None else []
        others += [f"{label} in the paper {value:g}" for label, value in figure.paper.items()]
        name = f"{figure.split} {figure.metric}"
        lines.append(f"{name:<28}{figure.median:>9.4f}  {spread}  {'; '.join(others)}".rstrip())
    return "\n".join(lines)


def _figure(split: str, metric: str, by_seed: Mapping[int, Result], chance: float | None) -> Figure:
    values = [result.value for result in by_seed.values()]
    errors = [result.stderr for result in by_seed.values() if result.stderr is not None]
    one = next(iter(by_seed.values()))
    return Figure(
        split=split,
        metric=metric,
        values={str(seed): result.value for seed, result in sorted(by_seed.items())},
        median=statistics.median(values),
        mean=statistics.fmean(values),
        sd=statistics.stdev(values) if len(values) > 1 else None,
        stderr=statistics.fmean(errors) if errors else None,
        num_examples=one.num_examples,
        chance=chance,
        paper=one.paper,
    )
