"""GLUE (Wang et al., 2018): its average and that of Table 5 of GPT-1's paper, and what its server takes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.formats.paper_gpt1 import figures
from pipeline.formats.publish import make_directory, write_bytes
from pipeline.metrics import Estimate, glue_average

Column = tuple[str, str]
"""A split and a metric."""
_ACCURACY = ("validation", "accuracy")
_MNLI = (_ACCURACY, ("validation_mismatched", "accuracy"))

TASKS: Mapping[str, tuple[Column, ...]] = {
    "cola": (("validation", "matthews"),),
    "sst2": (_ACCURACY,),
    "mrpc": (("validation", "f1"), _ACCURACY),
    "stsb": (("validation", "pearson"), ("validation", "spearman")),
    "qqp": (("validation", "f1"), _ACCURACY),
    "mnli": _MNLI,
    "qnli": (_ACCURACY,),
    "rte": (_ACCURACY,),
}
"""The tasks of GLUE in GPT-1's paper, and the figures by which GLUE counts each."""

TITLES: Mapping[str, str] = {"average": "GLUE average", "average_table_5": "average of Table 5"}
RULES: Mapping[str, str] = {
    "average": (
        "GLUE's average: each task counts once, by the mean of its metrics (MNLI by both of its sets); here "
        "on validation splits, of the eight tasks of GPT-1's paper. The paper's 72.8 is by GLUE's server, on "
        "test sets and with a ninth, WNLI"
    ),
    "average_table_5": (
        "The average of Table 5: the mean of its eight columns, one metric a task (MNLI by both its sets); "
        "here on validation splits, the paper's on test sets"
    ),
}
"""How each average is computed, by its name in the tables of the paper."""


FILES = (
    "AX.tsv", "CoLA.tsv", "MNLI-m.tsv", "MNLI-mm.tsv", "MRPC.tsv", "QNLI.tsv", "QQP.tsv", "RTE.tsv",
    "SST-2.tsv", "STS-B.tsv", "WNLI.tsv",
)  # fmt: skip
"""All that GLUE's server wants to see; of AX and WNLI, which GPT-1's paper leaves out, its own samples do."""
# The same predictions make the same file: zip's first day stands for the time.
EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Average:
    """An average over tasks, and how it is computed; without a value where some are `missing`.

    `paper` has the paper's by the rows of its tables.
    """

    name: str
    told: str
    value: float | None
    stderr: float | None
    missing: tuple[str, ...]
    paper: Mapping[str, float]


def averages(found: Mapping[str, Mapping[Column, Estimate]]) -> tuple[Average, ...]:
    """Return both averages of figures by task; none where nothing is of GLUE."""
    if not TASKS.keys() & found.keys():
        return ()
    of_table = {task: columns if task == "mnli" else columns[:1] for task, columns in TASKS.items()}
    return _average("average", TASKS, found), _average("average_table_5", of_table, found)


def bundle(files: Iterable[Path], target: Path) -> list[str]:
    """Zip those of some files that GLUE's server takes, if there are any; return the names it lacks then."""
    there = {path.name: path for path in files if path.name in FILES}
    if not there:
        return list(FILES)
    make_directory(target.parent)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in sorted(there):
            info = zipfile.ZipInfo(name, EPOCH)
            file.writestr(info, there[name].read_bytes(), compress_type=zipfile.ZIP_DEFLATED)
    write_bytes(target, content.getvalue())
    return [name for name in FILES if name not in there]


def _average(
    name: str, wanted: Mapping[str, tuple[Column, ...]], found: Mapping[str, Mapping[Column, Estimate]]
) -> Average:
    missing = [
        task for task, columns in wanted.items() if any(one not in found.get(task, {}) for one in columns)
    ]
    estimate = None
    if not missing:
        estimate = glue_average(
            {task: [found[task][one] for one in columns] for task, columns in wanted.items()}
        )
    return Average(
        name=name,
        told=RULES[name],
        value=estimate.value if estimate else None,
        stderr=estimate.stderr if estimate else None,
        missing=tuple(missing),
        paper=figures("glue", name),
    )


def without(found: Sequence[Average]) -> str:
    """Return what is said where averages want tasks that are not there; empty where none does."""
    missing = dict.fromkeys(task for average in found for task in average.missing)
    return f"No {TITLES['average']}: {', '.join(missing)} missing." if missing else ""
