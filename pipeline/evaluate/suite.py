"""A suite of tasks put to one model: records while it goes, figures when it is done."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import StageError
from pipeline.evaluate.scorer import Scorer
from pipeline.evaluate.task import Example, LogLikelihood, Request, Task
from pipeline.formats.lock import sole_writer
from pipeline.formats.results import RECORDS_SUFFIX, RecordLog, Result, write_records
from pipeline.log import progress

_log = logging.getLogger("loglinear.evaluate")

BATCHES_A_RECORDING = 16
"""Passes between two writes of records: enough to sort by length, little enough to lose in a kill."""


class Suite:
    """Tasks under way in a results directory; `identity` is the hash of all that decides their figures."""

    def __init__(self, results: Path, name: str, identity: str):
        self._results = results
        self._under_way = results / f".{name}.partial-{identity}"
        refusal = f"{results}: another process evaluates this; wait for it, or stop it"
        self._lock = sole_writer(self._under_way / "lock", refusal)

    def __enter__(self) -> Suite:
        for stale in self._results.glob(self._under_way.name.rpartition("-")[0] + "-*"):
            if stale != self._under_way:
                shutil.rmtree(stale, ignore_errors=True)
        self._lock.__enter__()
        return self

    def __exit__(self, *failure: Any) -> None:
        self._lock.__exit__(*failure)

    def run(self, task: Task, scorer: Scorer, batch_tokens: int, dtype: str) -> list[Result]:
        """Return a task's figures, asking the model only for the examples without a record."""
        started = time.monotonic()
        log = RecordLog(self._under_way / f"{task.name}{RECORDS_SUFFIX}")
        done = {record["number"] for record in log.records}
        examples = task.examples()
        if not examples:
            raise StageError(f"task {task.name}: no example in the data; {task.protocol}")
        waiting = [(example, task.requests(example)) for example in examples if example.number not in done]
        with progress(task.name, len(examples), "examples") as shown:
            shown.advance(len(done))
            for group in _groups(waiting, BATCHES_A_RECORDING * batch_tokens):
                log.append(_answered(task, scorer, group))
                shown.advance(len(group))
        results = _results(task, sorted(log.records, key=lambda record: record["number"]), dtype)
        for result in results:
            _log.info("%s", _line(result))
        _log.info("%s: %d examples in %.1f s", task.name, len(examples), time.monotonic() - started)
        return results

    def publish_records(self, tasks: Sequence[Task]) -> None:
        """Publish the records of all tasks as `<task>.jsonl.zst`."""
        for task in tasks:
            name = f"{task.name}{RECORDS_SUFFIX}"
            records = RecordLog(self._under_way / name).records
            write_records(self._results / name, sorted(records, key=lambda record: record["number"]))

    def forget_way(self) -> None:
        """Remove what was needed to go on after a kill; only once the suite's results are published."""
        shutil.rmtree(self._under_way)


def _groups(
    waiting: Sequence[tuple[Example, Sequence[Request]]], tokens: int
) -> Iterator[list[tuple[Example, Sequence[Request]]]]:
    """Yield runs of examples whose requests come to about so many tokens."""
    group: list[tuple[Example, Sequence[Request]]] = []
    held = 0
    for example, requests in waiting:
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


def _answered(
    task: Task, scorer: Scorer, group: Sequence[tuple[Example, Sequence[Request]]]
) -> list[dict[str, Any]]:
    replies = iter(scorer.answer([request for _, requests in group for request in requests]))
    return [task.score(example, [next(replies) for _ in requests]) for example, requests in group]


def _results(task: Task, records: Sequence[dict[str, Any]], dtype: str) -> list[Result]:
    return [
        Result(
            task=task.name,
            metric=metric.name,
            value=metric.estimate.value,
            stderr=metric.estimate.stderr,
            num_examples=metric.estimate.num_examples,
            dtype=dtype,
            data_sha256=task.data_sha256,
            protocol=task.protocol,
        )
        for metric in task.metrics(records)
    ]


def _line(result: Result) -> str:
    stderr = (
        "unknown" if result.stderr is None or not math.isfinite(result.stderr) else f"{result.stderr:.4g}"
    )
    figure = f"{result.value:.5g} ± {stderr}"
    return f"{result.task} {result.metric}: {figure}, {result.num_examples} examples"
