"""What processes do when one of them finds no progress: find out which does not get on, tell, and end.

In RUN/logs/hang/ the first one to notice leaves `asked-K` (K restarts of the job in place), at which every
process dumps its stacks to its log and leaves a note of how far it is. The one that is behind the others is
the cause; of those that are equally far the one that does not wait in a collective; and before all, whoever
leaves no note: it is stopped, held by a call below Python, or gone. The lowest rank that can judges, for all.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from launch import rank as job
from launch.environment import node_name, rank, restart_count, world_size
from launch.process import beginning, is_alive, state_of
from pipeline.trainer.place import is_waiting, place

NOTES_SECONDS = 1.5
VERDICT_SECONDS = 1.5
DUMP_SECONDS = 0.4  # for a stack to be written by a process that is told to abort
LOOK_SECONDS = 0.05
STDERR = 2

Note = Mapping[str, Any]


class Hang:
    """What this process knows of the others. `last_words` are said with the message, before the end."""

    def __init__(self, folder: Path):
        self._folder = folder / "hang"
        self._asked = self._folder / f"asked-{restart_count()}"
        self._began = time.time()
        self._rank, self._processes = rank(), world_size()
        pid = os.getpid()
        self.own = {"rank": self._rank, "node": node_name(), "pid": pid, "began": beginning(pid)}
        self._all: dict[int, Note] = {self._rank: self.own}
        self.last_words: Callable[[str], object] = str

    def know(self, others: Sequence[Any]) -> None:
        """Take over who each process is."""
        self._all = {other["rank"]: other for other in others}

    def node_of(self, number: int) -> str:
        """Return the name of the node that a rank runs on, once all are known."""
        return str(self._all[number]["node"])

    def is_suspected(self) -> bool:
        """Tell whether another process has found no progress since this one began."""
        try:
            return self._processes > 1 and self._asked.stat().st_mtime >= self._began
        except OSError:
            return False  # nobody has asked, or the disk cannot tell

    def end(self, doing: str, beats: int, silent_seconds: float, frame: FrameType | None) -> NoReturn:
        """Find the process that hangs, tell its name and place, and end this process."""
        note = {
            **self.own,
            "doing": doing,
            "beats": beats,
            "seconds": round(silent_seconds, 1),
            "place": place(frame),
            "waits": is_waiting(frame, is_idle=True),
        }
        _say(f"no progress for {silent_seconds:.0f} s in {doing}; all threads:")
        faulthandler.dump_traceback(STDERR, all_threads=True)
        notes = self._exchange(note)
        silent = [number for number in range(self._processes) if number not in notes]
        is_judge = self._rank == min(notes)
        message = "" if is_judge else self._verdict()
        if not message:
            culprits = silent or culprits_of(list(notes.values()))
            message = self._tell(culprits, notes)
            job.accuse(culprits[0], message)
        self._end_silent(silent, notes)
        if is_judge:
            self._publish("verdict", message)
        self.last_words(message)
        _say(message)
        job.leave(message)

    def _exchange(self, note: Note) -> dict[int, Note]:
        """Leave this process's note; return those that there are, by rank, once all or after a while."""
        if self._processes == 1:
            return {self._rank: note}
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self.is_suspected():
            self._asked.write_text(str(self._rank))
        self._publish(f"rank-{self._rank}", note)
        until = time.monotonic() + NOTES_SECONDS
        while True:
            found = {number: self._read(f"rank-{number}") for number in range(self._processes)}
            notes = {number: found_note for number, found_note in found.items() if found_note}
            if len(notes) == self._processes or time.monotonic() > until:
                return {**notes, self._rank: note}
            time.sleep(LOOK_SECONDS)

    def _verdict(self) -> str:
        """Return the message of the process that judges; nothing if none comes."""
        until = time.monotonic() + VERDICT_SECONDS
        while time.monotonic() < until:
            if found := self._read("verdict"):
                return str(found)
            time.sleep(LOOK_SECONDS)
        return ""

    def _tell(self, culprits: Sequence[int], notes: Mapping[int, Note]) -> str:
        """Return who hangs, where, and what is known of it."""
        told = " and ".join(self._tell_one(culprit, notes.get(culprit)) for culprit in culprits)
        seconds = max(note["seconds"] for note in notes.values())
        return (
            f"{told}; nothing got on for {seconds:.0f} s. The same command goes on from the last checkpoint"
        )

    def _tell_one(self, culprit: int, note: Note | None) -> str:
        known = self._all.get(culprit)
        who = f"rank {culprit} of {self._processes}" + (f" on {known['node']}" if known else "")
        if note is not None:
            return f"{who} hangs in {note['doing']} at {note['place']}"
        if known is None:
            return f"{who} hangs: it never met the others"
        if known["node"] != self.own["node"]:
            return f"{who} hangs: process {known['pid']} does not answer"
        if not is_alive(known["pid"], known["began"]):
            return f"{who} is gone"
        return f"{who} hangs: process {known['pid']} {_STATES.get(state_of(known['pid']), _HELD)}"

    def _end_silent(self, silent: Sequence[int], notes: Mapping[int, Note]) -> None:
        """End the processes of this node that cannot end themselves; their stacks go to their logs."""
        here = [note["rank"] for note in notes.values() if note["node"] == self.own["node"]]
        if self._rank != min(here):
            return
        known = [self._all[number] for number in silent if number in self._all]
        mine = [other for other in known if other["node"] == self.own["node"]]
        pids = [other["pid"] for other in mine if is_alive(other["pid"], other["began"])]
        for number in (signal.SIGABRT, signal.SIGKILL):
            for pid in pids:
                with contextlib.suppress(OSError):
                    os.kill(pid, number)
            if pids and number == signal.SIGABRT:
                time.sleep(DUMP_SECONDS)

    def _publish(self, name: str, found: Any) -> None:
        draft = self._folder / f".{name}.{os.getpid()}"
        if self._processes > 1:
            draft.write_text(json.dumps(found))
            draft.replace(self._folder / f"{name}.json")

    def _read(self, name: str) -> Any:
        """Return what was published since this process began; None if nothing."""
        path = self._folder / f"{name}.json"
        try:
            return json.loads(path.read_text()) if path.stat().st_mtime >= self._began else None
        except OSError:
            return None


_STATES = {"T": "was stopped by a signal", "D": "waits for a disk or a device"}
_HELD = "is held by a call below Python"


def _say(text: str) -> None:
    """Write to the log, past everything that the main thread may hold."""
    os.write(STDERR, f"\n{text}\n".encode())


def culprits_of(notes: Sequence[Note]) -> list[int]:
    """Return the ranks that hold up the others: those behind, of equals those that do not wait, else all."""
    fewest = min(note["beats"] for note in notes)
    behind = [note for note in notes if note["beats"] == fewest]
    at_work = [note for note in behind if not note["waits"]]
    return [note["rank"] for note in at_work or behind]
