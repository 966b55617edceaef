"""What trials may hand in to GLUE's server: the predictions of the seed that is best on validation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipeline.formats import glue
from pipeline.formats.run import Run
from pipeline.study.compared import Comparison
from pipeline.study.finetuning import FineTuning

LOG = logging.getLogger("loglinear.study")
FOLDER = "submissions"


def write(
    out: Path, jobs: Sequence[FineTuning], folder: Callable[[FineTuning], Path], found: Comparison
) -> None:
    """Write submissions/TRIAL.zip for every trial with predictions that the server takes.

    Of the seeds of a dataset the one that is best on the validation split speaks: labels of test sets are
    not known.
    """
    for trial in found.trials:
        files = [
            path
            for job in jobs
            if job.trial == trial
            for path in _predictions(folder(job), _best_seed(found, job))
        ]
        target = out / FOLDER / f"{trial}.zip"
        lacking = glue.bundle(files, target)
        if len(lacking) < len(glue.FILES):
            LOG.info("%s: what GLUE's server takes; it wants %s too", target, ", ".join(lacking) or "no more")


def _best_seed(found: Comparison, job: FineTuning) -> str | None:
    cell = found.main(job.trial, job.dataset)
    return max(cell.values, key=lambda seed: cell.values[seed]) if cell else None


def _predictions(folder: Path, seed: str | None) -> Iterator[Path]:
    if seed is not None:
        yield from sorted(Run(folder / f"seed-{seed}").results.glob("*/submission/*.tsv"))
