"""Child processes of the quickstart: a fixed environment, a time limit per item, gone when we are."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import orjson

POLL_SECONDS = 0.5

# What a module may read at import, the same everywhere: nothing random, no window, one thread, no colours.
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONWARNINGS": "ignore",
    "PYTHONUTF8": "1",
    "PYTHONSAFEPATH": "1",
    "MPLBACKEND": "Agg",
    "BROWSER": "none",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "COLUMNS": "80",
    "TERM": "dumb",
}
_INHERITED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "TMPDIR")


class ChildLost(Exception):  # noqa: N818 - what happened, caught by name where it is told as a StageError
    """A child died or was ended for its slowness; `item` is what it was at, "" before the first."""

    def __init__(self, item: str, reason: str, output: str):
        super().__init__(reason)
        self.item, self.reason, self.output = item, reason, output


def run_child(
    module: str,
    request: dict[str, Any],
    item_seconds: float,
    at: Callable[[str], None],
) -> None:
    """Run ``python -m module REQUEST`` to its end, in an empty directory of its own.

    The child says on a line of its own which item it is at (`at` is told); one that takes longer than
    `item_seconds` ends it. Raises ChildLost.
    """
    with tempfile.TemporaryDirectory(prefix="loglinear-") as home:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        child = subprocess.Popen(
            [sys.executable, "-m", module, orjson.dumps({**request, "parent": os.getpid()}).decode()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=home,
            env={**inherited, **_ENVIRONMENT, "HOME": home},
        )
        try:
            _follow(child, item_seconds, at)
        finally:
            child.kill()
            child.wait()
            for pipe in (child.stdout, child.stderr):
                if pipe:
                    pipe.close()


def _follow(child: "subprocess.Popen[str]", item_seconds: float, at: Callable[[str], None]) -> None:
    assert child.stdout and child.stderr
    item, expired = "", threading.Event()

    def end() -> None:
        expired.set()
        child.kill()

    timer = threading.Timer(item_seconds, end)
    timer.start()
    for line in child.stdout:
        timer.cancel()
        item = line.strip()
        at(item)
        timer = threading.Timer(item_seconds, end)
        timer.start()
    code = child.wait()
    timer.cancel()
    if expired.is_set():
        raise ChildLost(item, f"takes more than {item_seconds:g} s", "")
    if code:
        raise ChildLost(item, "ends the process", child.stderr.read()[-2000:])


def run_parallel(tasks: list[Callable[[], None]], workers: int) -> None:
    """Call the tasks, `workers` at a time, in the order given; the first failure is raised at the end."""
    todo, failures, lock = iter(tasks), list[BaseException](), threading.Lock()

    def work() -> None:
        while not failures:
            with lock:
                task = next(todo, None)
            if task is None:
                return
            try:
                task()
            except BaseException as fault:  # raised again below, in the caller's thread
                failures.append(fault)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def end_with(parent: int) -> None:
    """End this process as soon as process `parent`, which started it, is gone; kill -9 included."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
