"""How a job of several processes ended, from what each has left in the job's folder."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.rank import STOP, STOPPED, records

TAIL_BYTES = 1 << 18
_PACKAGES = "/(?:pipeline|model|launch)/"
# What heads the stacks that `faulthandler` writes: told to abort, or after a time.
_STACKS = re.compile(r"^(?:Fatal Python error: Aborted|Timeout \([\d:.]+\)!)$", re.MULTILINE)
_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+) in (?P<name>.+)$', re.MULTILINE)
_PLACE = re.compile(r"\.py:\d+ ")
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


# What a launcher's own output tells of an end that no rank has seen.
_LAUNCHER_TELLS = (
    (
        r"EADDRINUSE|[Aa]ddress already in use",
        "the port at which the processes meet is taken by another program on that node; name another one"
        " (torchrun: endpoint, deepspeed: master_port), or end that program",
    ),
    (
        r"RendezvousTimeoutError",
        "not every node came to the meeting in time (meet_seconds): start the same command on those that are"
        " missing, and here again",
    ),
    (
        r"RendezvousConnectionError|failed to connect/validate|no rank has begun in time",
        "nobody answers at the endpoint as torchrun does: its node is down or was not started first, the"
        " network to it is cut, or another program has that port. See to it, then start the same command on"
        " every node",
    ),
)


def told_by_launcher(output: str) -> str:
    """Return cause and remedy of an end that the output of torchrun or DeepSpeed's launcher tells."""
    return next((words for pattern, words in _LAUNCHER_TELLS if re.search(pattern, output)), "")


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
        number, _, told = claim.read_text().partition(" ")
        failure = _accused(folder, last, int(number), told) if told else _failure(folder, last, int(number))
        return failure.exit_code, failure
    if asked and not found:
        return STOPPED, None
    lost = [record for record in last if "exit_code" not in record and node in ("", record["node"])]
    if lost and (asked or (folder / STOP).exists()):
        return STOPPED, None
    if lost:
        failure = _without_a_word(folder, lost[0])
        return failure.exit_code, failure
    if any(record.get("exit_code") == STOPPED for record in last):
        return STOPPED, None
    return code, None


def hung_at(log: Path | None, began: int) -> str:
    """Return FILE:LINE function of the innermost code of ours in a stack that a process left as it was ended.

    The main thread's, which is the last; nothing where its log, which `began` at a byte, holds no such stack.
    """
    if log is None or not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - TAIL_BYTES, began))
        _, *stacks = _STACKS.split(file.read().decode(errors="replace"))
    frames = list(_FRAME.finditer(stacks[-1].rpartition("hread 0x")[2])) if stacks else []
    found = next((frame for frame in frames if re.search(_PACKAGES, frame["file"])), None)
    return f"{found['file']}:{found['line']} {found['name']}" if found else ""


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
        silent = [other for other in found if "exit_code" not in other and other["node"] != record["node"]]
        if silent and not causes:
            return _out_of_reach(folder, silent[0])
        record = min(causes, key=lambda cause: float(cause["time"]), default=record)
    told = {key: record[key] for key in ("message", "log_bytes", "exit_code")}
    return Failure(**told, **_who(folder, record))


def _accused(folder: Path, found: list[dict[str, Any]], rank: int, told: str) -> Failure:
    """Return the failure of a rank that hung, as another one tells it, and where it was if a stack tells."""
    record = next((record for record in found if record["rank"] == rank), None)
    if record is None:  # it has never begun
        record = {**found[0], "rank": rank, "node": "an unknown node", "log": None}
    who = _who(folder, record)
    at = "" if _PLACE.search(told) else hung_at(who["log"], record["log_began"])
    return Failure(message=f"{told}; it was at {at}" if at else told, log_bytes=None, exit_code=1, **who)


def _is_cause(record: dict[str, Any]) -> bool:
    failed = record.get("exit_code", 0) not in (0, STOPPED)
    return failed and not _CONSEQUENCE.search(record["message"])


def _without_a_word(folder: Path, record: dict[str, Any]) -> Failure:
    who = _who(folder, record)
    at = hung_at(who["log"] or folder.with_name(f"{folder.name}.log"), record["log_began"])
    message = "ended without a word: killed, or crashed below Python (out of memory? ask the kernel's log)"
    if at:
        message = f"hung in a call below Python, or crashed in it, at {at}"
    return Failure(message=message, log_bytes=None, exit_code=1, **who)


def _out_of_reach(folder: Path, record: dict[str, Any]) -> Failure:
    message = (
        f"left the others without a word: {record['node']} is down, its process was killed, or the network to"
        " it is cut. Once that is mended, the same command on every node goes on from the last checkpoint"
    )
    return Failure(message=message, log_bytes=None, exit_code=1, **_who(folder, record))


def _who(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    log = folder / record["log"] if record["log"] else None
    return {key: record[key] for key in ("rank", "world_size", "node")} | {"log": log}
