"""Runs chains of jobs side by side: each once it may start, finished ones never again, failed ones once more.

A cluster's queue is given at once all jobs that can start, as an array.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch.launcher import Job, Launcher, Queue, Submission
from launch.submitted import POLL_SECONDS as QUEUE_POLL_SECONDS
from pipeline import log
from pipeline.errors import StageError, Stopped
from pipeline.formats.publish import read_json, write_json
from pipeline.study.plan import makespan

POLL_SECONDS = 0.05
MOST_FAILURES = 2  # of one job in one start of the study; the next start tries again
LOG_LINES = 12
BAD_INPUT = 2  # the exit code after which trying again is of no use
LOG = logging.getLogger("loglinear.study")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One job of a chain, made when its turn comes, and the question whether its result is there."""

    make: Callable[[], Job]
    is_done: Callable[[], bool]


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Jobs that follow each other, for one run; `may_start` is asked until it is so."""

    name: str
    steps: tuple[Step, ...]
    threads: int = 1
    seconds: float | None = None  # expected
    may_start: Callable[[], bool] = lambda: True

    @property
    def is_done(self) -> bool:
        """Whether every result is there."""
        return all(step.is_done() for step in self.steps)


@dataclass(kw_only=True)
class _Running:
    chain: Chain
    submission: Submission
    job: Job
    step: Step
    started: float = field(default_factory=time.monotonic)


class Pool:
    """A number of threads that work through chains; what happened is recorded in `records`/NAME.json.

    `launchers` gives the launcher of a job with so many threads. A cluster's queue sees itself to how many
    run side by side.
    """

    def __init__(self, launchers: Callable[[int], Launcher], threads: int, records: Path):
        self._launchers, self._records = launchers, records
        launcher = launchers(1)
        self._queue = launcher if isinstance(launcher, Queue) else None
        self._threads = sys.maxsize if self._queue else threads
        self._failures: dict[str, int] = {}
        self._broken: dict[str, str] = {}
        self._begun: dict[str, float] = {}
        self._stopping = False

    def run(
        self, chains: Sequence[Chain], description: str, finished: Callable[[str], None] = lambda _: None
    ) -> None:
        """Finish all chains, those first that come first; `finished` is told the name of each that is done.

        StageError shows the end of the log of those that failed; what waits for them is left undone.
        """
        waiting = [chain for chain in chains if not chain.is_done]
        for chain in chains:
            if chain not in waiting:
                finished(chain.name)
        if not waiting:
            return
        running: list[_Running] = []
        done = len(chains) - len(waiting)
        with self._signals(), log.progress(description, len(chains), "runs", done) as shown:
            try:
                while (waiting or running) and not self._stopping:
                    if not self._turn(waiting, running, shown, finished):
                        break
            finally:
                _stop(running)
        if self._stopping:
            raise Stopped("stopped with every run saved; the same command goes on from here")
        if self._broken:
            raise StageError("\n".join(self._broken.values()))
        assert not waiting, "chains wait for each other"

    def _turn(
        self,
        waiting: list[Chain],
        running: list[_Running],
        shown: log.Progress,
        finished: Callable[[str], None],
    ) -> bool:
        """Fill the free threads, then look after the jobs that have ended; False if nothing can go on."""
        running += self._start(self._next(waiting, running))
        ended = [one for one in running if one.submission.poll() is not None]
        following = [chain for one in ended if (chain := self._after(one)) is not None]
        for one in ended:
            running.remove(one)
            if one.chain.is_done:
                finished(one.chain.name)
        shown.advance(len(ended) - len(following))
        running += self._start(following)
        shown.note(", ".join(one.chain.name for one in running), self._left(waiting, running))
        if not running and not ended:
            return False
        time.sleep(QUEUE_POLL_SECONDS if self._queue else POLL_SECONDS)
        return True

    def _next(self, waiting: list[Chain], running: Sequence[_Running]) -> list[Chain]:
        """Take the chains that start now; those that come later do not take the place that one waits for."""
        free = self._threads - sum(self._threads_of(one.chain) for one in running)
        chosen = []
        for chain in list(waiting):
            if not chain.may_start():
                continue
            if self._threads_of(chain) > free:
                break
            free -= self._threads_of(chain)
            waiting.remove(chain)
            chosen.append(chain)
        return chosen

    def _threads_of(self, chain: Chain) -> int:
        return min(chain.threads, self._threads)

    def _start(self, chains: Sequence[Chain]) -> list[_Running]:
        """Start the next job of each chain."""
        if not chains:
            return []
        steps = [next(step for step in chain.steps if not step.is_done()) for chain in chains]
        jobs = [step.make() for step in steps]
        for chain, job in zip(chains, jobs, strict=True):
            self._begun.setdefault(chain.name, time.monotonic())
            self._record(job, starts=1)
        if self._queue:
            submissions = self._queue.submit_all(jobs)
        else:
            submissions = [
                self._launchers(self._threads_of(chain)).submit(job)
                for chain, job in zip(chains, jobs, strict=True)
            ]
        return [
            _Running(chain=chain, step=step, job=job, submission=submission)
            for chain, step, job, submission in zip(chains, steps, jobs, submissions, strict=True)
        ]

    def _after(self, ended: _Running) -> Chain | None:
        """Return the chain if more of it is to be done: the next job, or the same once more."""
        code = ended.submission.poll()
        if code == 0 and ended.step.is_done():
            self._record(ended.job, seconds=time.monotonic() - ended.started)
            return None if ended.chain.is_done else ended.chain
        if self._queue and code == Stopped.exit_code:
            self._stopping = True  # it was asked to end and not to be queued again: so is the study
        return None if self._stopping else self._again(ended, code)

    def _again(self, ended: _Running, code: int | None) -> Chain | None:
        """Count a failure, show the end of the log and start the job again, unless that is of no use."""
        tail = _tail(ended.job.log)
        self._record(ended.job, failure={"exit_code": code, "time": time.time(), "log": tail})
        self._failures[ended.job.name] = self._failures.get(ended.job.name, 0) + 1
        reason = f"exit code {code}" if code else "exit code 0, but its result is not there"
        message = f"{ended.job.name} failed ({reason}); the end of {ended.job.log}:\n" + "\n".join(tail)
        if code == BAD_INPUT or self._failures[ended.job.name] >= MOST_FAILURES:
            self._broken[ended.job.name] = f"{message}\nmend the cause and start the same command again"
            LOG.error("%s", message)
            return None
        LOG.warning("%s\ntrying again", message)
        return ended.chain

    def _left(self, waiting: Sequence[Chain], running: Sequence[_Running]) -> float | None:
        """Return how many seconds the rest should take by what was measured, or None where nothing was."""
        expected = [chain.seconds for chain in [*waiting, *(one.chain for one in running)]]
        if self._queue or not running or None in expected:
            return None
        now = time.monotonic()
        rest = {one.chain.name: now - self._begun[one.chain.name] for one in running}
        left = [
            max((chain.seconds or 0) - rest.get(chain.name, 0.0), 1.0)
            for chain in [*waiting, *(one.chain for one in running)]
            for _ in range(self._threads_of(chain))
        ]
        return makespan(left, self._threads)

    def _record(self, job: Job, starts: int = 0, failure: Any = None, seconds: float | None = None) -> None:
        path = self._records / f"{job.name}.json"
        record: dict[str, Any] = {"starts": 0, "failures": [], "seconds": None}
        if path.is_file():
            record = read_json(path)
        record["starts"] += starts
        record["failures"] += [failure] if failure else []
        record["seconds"] = seconds if seconds is not None else record["seconds"]
        write_json(path, record)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Turn SIGINT and SIGTERM into a stop that lets every job save itself."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(*_: object) -> None:
            self._stopping = True

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def longest_first(chains: Iterable[Chain]) -> list[Chain]:
    """Return chains that need nothing of each other in the order in which they end soonest together."""
    return sorted(chains, key=lambda chain: -(chain.seconds or 0))


def recorded_seconds(records: Path, job: str) -> float | None:
    """Return how long a job took the last time it succeeded."""
    path = records / f"{job}.json"
    seconds = read_json(path)["seconds"] if path.is_file() else None
    return float(seconds) if seconds is not None else None


def recorded_failures(records: Path) -> dict[str, int]:
    """Return the jobs that failed at least once, and how often."""
    counts = {path.stem: len(read_json(path)["failures"]) for path in sorted(records.glob("*.json"))}
    return {name: count for name, count in counts.items() if count}


def _stop(running: Sequence[_Running]) -> None:
    """Ask the jobs that still run to save themselves and end, all at once."""
    if running:
        LOG.info("stopping %d jobs; each saves a checkpoint first", len(running))
    stoppers = [threading.Thread(target=one.submission.stop) for one in running]
    for stopper in stoppers:
        stopper.start()
    for stopper in stoppers:
        stopper.join()


def _tail(path: Path) -> list[str]:
    if not path.is_file():
        return ["(no log was written)"]
    return path.read_bytes()[-8192:].decode(errors="replace").splitlines()[-LOG_LINES:]
