"""A suite of tasks put to one model: records while it goes, figures when it is done."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import StageError
from pipeline.evaluate.task import Answering, Example, LogLikelihood, Request, Task
from pipeline.formats.lock import sole_writer
from pipeline.formats.paper import figures
from pipeline.formats.results import RECORDS_SUFFIX, RecordLog, Result, read_records, write_records
from pipeline.log import progress

_log = logging.getLogger("loglinear.evaluate")

Asked = tuple[Example, Sequence[Request]]

NO_OVERLAP = "no-overlap"
"""The subset of a task's examples that do not overlap with the training data."""

BATCHES_A_RECORDING = 16
"""Passes between two writes of records: enough to sort by length, little enough to lose in a kill."""


class Suite:
    """Tasks under way in a results directory; `identity` of a task is the hash of all that decides its
    figures.
    """

    def __init__(self, results: Path, name: str):
        self._results = results
        self._under_way = results / f".{name}.partial"
        refusal = f"{results}: another process evaluates this; wait for it, or stop it"
        self._lock = sole_writer(self._under_way / "lock", refusal)

    def __enter__(self) -> Suite:
        self._lock.__enter__()
        return self

    def __exit__(self, *failure: Any) -> None:
        self._lock.__exit__(*failure)

    def run(
        self, task: Task, identity: str, answering: Answering, batch_tokens: int, dtype: str
    ) -> list[Result]:
        """Return a task's figures, asking the model only for the examples without a record."""
        started = time.monotonic()
        log = RecordLog(self._log(task, identity))
        done = {record["number"] for record in log.records}
        examples = task.examples()
        if not examples:
            raise StageError(f"task {task.name}: no example in the data; {task.protocol}")
        waiting = [example for example in examples if example.number not in done]
        if done:
            _log.info("%s: %d of %d examples were done before", task.name, len(done), len(examples))
        with progress(task.name, len(waiting), "examples") as shown:
            for group in _groups(task, waiting, BATCHES_A_RECORDING * batch_tokens):
                log.append(_answered(task, answering, group))
                shown.advance(len(group))
        results = _results(task, _in_order(log), dtype)
        for result in results:
            _log.info("%s", _line(result))
        _log.info("%s: %d examples in %.1f s", task.name, len(examples), time.monotonic() - started)
        return results

    def publish_records(self, task: Task, identity: str) -> None:
        """Publish the records of a task as `<task>.jsonl.zst`."""
        records = _in_order(RecordLog(self._log(task, identity)))
        write_records(self._results / f"{task.name}{RECORDS_SUFFIX}", records)

    def records(self, task: Task) -> list[dict[str, Any]]:
        """Return the published records of a task."""
        return read_records(self._results / f"{task.name}{RECORDS_SUFFIX}")

    def without(self, task: Task, left_out: Collection[int], dtype: str) -> list[Result]:
        """Return the figures of a finished task without some of its examples; none where no other is left."""
        kept = [record for record in self.records(task) if record["number"] not in left_out]
        return _results(task, kept, dtype, NO_OVERLAP) if kept else []

    def forget_way(self) -> None:
        """Remove what was needed to go on after a kill; only once the suite's results are published."""
        shutil.rmtree(self._under_way)

    def _log(self, task: Task, identity: str) -> Path:
        return self._under_way / f"{task.name}-{identity}{RECORDS_SUFFIX}"


def _in_order(log: RecordLog) -> list[dict[str, Any]]:
    return sorted(log.records, key=lambda record: int(record["number"]))


def _groups(task: Task, waiting: Sequence[Example], tokens: int) -> Iterator[list[Asked]]:
    """Yield runs of examples whose requests come to about so many tokens."""
    group: list[Asked] = []
    held = 0
    for example in waiting:
        requests = task.requests(example)
        group.append((example, requests))
        held += sum(map(_tokens, requests))
        if held >= tokens:
            yield group
            group, held = [], 0
    if group:
        yield group


def _tokens(request: Request) -> int:
    if isinstance(request, LogLikelihood):
        return len(request.context) + len(request.target)
    return len(request.prompt) + request.max_new_tokens


def _answered(task: Task, answering: Answering, group: Sequence[Asked]) -> list[dict[str, Any]]:
    replies = iter(answering.answer([request for _, requests in group for request in requests]))
    return [task.score(example, [next(replies) for _ in requests]) for example, requests in group]


def _results(task: Task, records: Sequence[dict[str, Any]], dtype: str, subset: str = "all") -> list[Result]:
    return [
        Result(
            task=task.name,
            metric=metric.name,
            value=metric.estimate.value,
            stderr=metric.estimate.stderr,
            num_examples=metric.estimate.num_examples,
            subset=subset,
            dtype=dtype,
            data_sha256=task.data_sha256,
            protocol=task.protocol,
            paper=figures(task.name, metric.name) if subset == "all" else {},
        )
        for metric in task.metrics(records)
    ]


def _line(result: Result) -> str:
    stderr = (
        "unknown" if result.stderr is None or not math.isfinite(result.stderr) else f"{result.stderr:.4g}"
    )
    figure = f"{result.value:.5g} ± {stderr}"
    return f"{result.task} {result.metric}: {figure}, {result.num_examples} examples"
