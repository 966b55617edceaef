"""How a job of several processes ended, from what each has left in the job's folder."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.rank import STOP, STOPPED, records

# What a rank says of another one's failure, as gloo, NCCL, the store and `launch.rank` put it. A failing rank
# leaves the group before it notes why, so that such words may be the first.
_CONSEQUENCE = re.compile(
    r"connection (was )?(closed|reset|refused)|closed by peer|broken pipe|remote (process|error)|timed? ?out"
    r"|NCCL communicator|another rank had failed",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The first of a job's ranks to fail. `log` is None where it has no file of its own.

    `log_bytes` is where in its output it begins to tell of its end; None where it could not tell.
    """

    rank: int
    world_size: int
    node: str
    exit_code: int
    message: str
    log: Path | None
    log_bytes: int | None


def outcome(folder: Path, code: int, node: str = "", asked: bool = False) -> tuple[int, Failure | None]:
    """Return the exit code that a job deserves, and its first failure if there is one.

    `code` is the launcher's own, which torchrun makes 1 of any failure and DeepSpeed's 0 of a kill; what the
    ranks have noted goes before it. `node` names the one whose ranks have ended with it, or is empty for all.
    A rank that was `asked` to stop may end without a word: it had not begun its work.
    """
    found = records(folder)
    restart = max((record["restart"] for record in found), default=0)
    last = [record for record in found if record["restart"] == restart]
    claim = folder / f"first-failure-{restart}"
    if claim.is_file():
        failure = _failure(folder, last, int(claim.read_text()))
        return failure.exit_code, failure
    lost = [record for record in last if "exit_code" not in record and node in ("", record["node"])]
    if lost and (asked or (folder / STOP).exists()):
        return STOPPED, None
    if lost:
        failure = _without_a_word(folder, lost[0])
        return failure.exit_code, failure
    if any(record.get("exit_code") == STOPPED for record in last):
        return STOPPED, None
    return code, None


def end_of_output(folder: Path, rank: int) -> int | None:
    """Return up to which byte a rank's output is of its work and not of its failure; None before that."""
    record = next((record for record in records(folder) if record["rank"] == rank), {})
    return record["log_bytes"] if record.get("exit_code") else None


def _failure(folder: Path, found: list[dict[str, Any]], rank: int) -> Failure:
    by_rank = {record["rank"]: record for record in found}
    record = by_rank[rank]
    if "exit_code" not in record:
        return _without_a_word(folder, record)
    if record["gone"]:
        return _without_a_word(folder, by_rank[record["gone"][0]])
    if _CONSEQUENCE.search(record["message"]):
        causes = [other for other in found if _is_cause(other)]
        record = min(causes, key=lambda cause: float(cause["time"]), default=record)
    told = {key: record[key] for key in ("message", "log_bytes", "exit_code")}
    return Failure(**told, **_who(folder, record))


def _is_cause(record: dict[str, Any]) -> bool:
    failed = record.get("exit_code", 0) not in (0, STOPPED)
    return failed and not _CONSEQUENCE.search(record["message"])


def _without_a_word(folder: Path, record: dict[str, Any]) -> Failure:
    message = "ended without a word: killed, or crashed below Python (out of memory? ask the kernel's log)"
    return Failure(message=message, log_bytes=None, exit_code=1, **_who(folder, record))


def _who(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    log = folder / record["log"] if record["log"] else None
    return {key: record[key] for key in ("rank", "world_size", "node")} | {"log": log}
