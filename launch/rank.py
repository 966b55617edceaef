"""What a process of a job leaves for the command that started it: its output, and how it ended.

The launcher names the job's folder in LOGLINEAR_JOB; all nodes of the job must see the same one. There:

rank-N.log         output of rank N, of each start after the one before (with `local` it is the job's own log)
rank-N.json        who rank N is and, once it has ended, how
first-failure-K    the number of the rank that failed first, after K restarts of the job in place; and what
                   another one says of it, where it could not speak for itself
stop               asks every rank to save a checkpoint and end
extensions/        what the job's processes compile
start.lock         held by the command that started the job, see `launch.sole`

Who failed first is settled by who makes the file, not by the clocks of the nodes; `launch.outcome` reads it.
"""

import contextlib
import faulthandler
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Protocol

from launch import environment, meeting, stopping
from launch.launcher import JOB
from launch.process import beginning, end_with, is_alive
from launch.secrets import redacted

STOP = "stop"
STDOUT, STDERR = 1, 2
STOPPED = 75  # a checkpoint is saved and there is more to do
UNFIT = 2  # nothing is wrong with the work; where it was to be done does not fit
POLL_SECONDS = 0.5
DYING_SECONDS = 0.2
# The others of a failed rank may wait for it without end, and without it nothing can be saved.
ALONE_SECONDS = 8.0


class Farewell(Protocol):
    """Takes a process's exit code and last message; returns the code that it is to exit with."""

    def __call__(self, code: int, message: str = "") -> int:
        """Note the end, before the message is printed."""


@contextmanager
def reporting() -> Iterator[Farewell]:
    """Send this process's output where its job wants it, and yield what notes how it ends.

    A process that no launcher has started is left as it is. An exception that passes through is noted as a
    failure.
    """
    folder = os.environ.pop(JOB, "")  # what this process starts in turn is another matter
    if not folder:
        yield _unnoted
        return
    rank = _Rank.own = _Rank(Path(folder))
    try:
        if why := rank.unfit():
            code = rank.end(UNFIT, why)
            print(why, file=sys.stderr)  # noqa: T201 - as the command's own last words
            sys.exit(code)
        yield rank.end
    except SystemExit:
        raise
    except BaseException as failure:
        rank.end(1, f"{type(failure).__name__}: {failure}")
        raise


def _unnoted(code: int, message: str = "") -> int:  # noqa: ARG001 - the shape of a farewell
    return code


def accuse(culprit: int, message: str) -> None:
    """Note why a rank is the first failure, in its place or where it cannot; not over an earlier one."""
    if _Rank.own is not None:
        _Rank.own.claim_first_failure(f"{culprit} {message}")


def leave(message: str) -> NoReturn:
    """End this process as a failure, from any of its threads, whatever the others do."""
    if _Rank.own is not None:
        _Rank.own.end(1, message)
    os._exit(1)


def clear(folder: Path) -> None:
    """Remove what the last start of a job left, but for the logs; before the next one."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("rank-*.json", "first-failure-*", STOP):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


class _Rank:
    """This process as one of a job's."""

    own: "_Rank | None" = None

    def __init__(self, folder: Path):
        self._folder = folder
        self._rank = environment.rank()
        self._of_several = "RANK" in os.environ
        self._ended = False
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        if self._of_several:
            self._take_own_log()
            end_with(os.getppid())  # torchrun, killed, would leave its ranks behind
            os.environ |= meeting.for_gloo()
        faulthandler.enable(STDERR)  # a crash below Python leaves its stack in the log
        self._remove_stale_locks()
        self._record: dict[str, Any] = {
            "rank": self._rank,
            "world_size": environment.world_size(),
            "node": environment.node_name(),
            "pid": os.getpid(),
            "began": beginning(os.getpid()),
            "restart": environment.restart_count(),
            "log": self._log.name if self._of_several else None,
            "log_began": os.fstat(STDERR).st_size,
            "versions": environment.versions(),
        }
        self._write()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def _log(self) -> Path:
        return self._folder / f"rank-{self._rank}.log"

    @property
    def _first_failure(self) -> Path:
        return self._folder / f"first-failure-{environment.restart_count()}"

    def end(self, code: int, message: str = "") -> int:
        """Note the end; of several ranks that stop, each exits with 0, which no launcher calls a failure."""
        with self._lock:
            if self._ended:
                return code
            self._ended = True
        gone = []
        if code not in (0, STOPPED):
            self.claim_first_failure(str(self._rank))
            gone = self._gone_in_a_moment()
        sys.stdout.flush()
        self._record |= {
            "exit_code": code,
            "message": redacted(message),
            "gone": gone,
            # Where in its output this rank begins to tell of its end.
            "log_bytes": os.fstat(STDERR).st_size,
            "time": time.time(),
        }
        self._write()
        return 0 if code == STOPPED and self._of_several else code

    def unfit(self) -> str:
        """Return why this rank cannot work with the others, as far as that can be told now, or nothing.

        Each notes its versions before it reads the others', so that of two that differ the later one sees it.
        """
        same_start = [
            other
            for other in records(self._folder)
            if all(other[key] == self._record[key] for key in ("world_size", "restart"))
        ]
        return meeting.difference(self._record, same_start) or meeting.obstacle(self._rank)

    def _take_own_log(self) -> None:
        """Send all output from here on, also that of libraries below Python, to this rank's file."""
        with self._log.open("ab") as log:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(log.fileno(), STDOUT)
            os.dup2(log.fileno(), STDERR)
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        who = f"rank {self._rank} of {environment.world_size()} on {environment.node_name()}"
        print(f"---- {now} {who}, process {os.getpid()}", file=sys.stderr)  # noqa: T201 - the log's own line

    def _remove_stale_locks(self) -> None:
        """Remove locks on extensions: the ranks build none before all have met, so a killed job left them."""
        for lock in Path(os.environ.get("TORCH_EXTENSIONS_DIR", self._folder)).glob("**/lock"):
            if lock.stat().st_mtime < time.time() - POLL_SECONDS:
                lock.unlink(missing_ok=True)

    def claim_first_failure(self, text: str) -> None:
        """Claim that a rank has failed first, unless another one is known to have."""
        with contextlib.suppress(FileExistsError), self._first_failure.open("x") as claim:
            claim.write(text)

    def _gone_in_a_moment(self) -> list[int]:
        """Return the ranks of this node that had gone without a word before this one failed."""
        found = self._gone()
        if not found:
            time.sleep(DYING_SECONDS)  # a killed process closes its connections before it is quite dead
            found = self._gone()
        return found

    def _gone(self) -> list[int]:
        others = [other for other in records(self._folder) if other["rank"] != self._rank]
        mine = [
            other for other in others if all(other[key] == self._record[key] for key in ("node", "restart"))
        ]
        return [other["rank"] for other in mine if "exit_code" not in other and not is_at_work(other)]

    def _write(self) -> None:
        path = self._folder / f"rank-{self._rank}.json"
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(self._record))
        draft.replace(path)

    def _watch(self) -> None:
        """Pass a request to stop on as SIGTERM; end this process a while after another one has failed."""
        asked = False
        while not self._first_failure.exists():
            if not asked and (self._folder / STOP).exists():
                asked = True
                if not stopping.asked():  # a second request would end it at once
                    os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(POLL_SECONDS)
        time.sleep(ALONE_SECONDS)
        leave(f"ended {ALONE_SECONDS:.0f} s after another rank had failed")


def is_at_work(record: dict[str, Any]) -> bool:
    """Tell whether the process of a record of this node runs."""
    return is_alive(record["pid"], record.get("began"))


def records(folder: Path) -> list[dict[str, Any]]:
    """Return what each rank of a job's last start has noted, in the order of ranks."""
    found = []
    for path in folder.glob("rank-*.json"):
        with contextlib.suppress(FileNotFoundError):  # another node clears the folder when it starts
            found.append(json.loads(path.read_text()))
    return sorted(found, key=lambda record: int(record["rank"]))
