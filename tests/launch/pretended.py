"""Slurm's commands played by a few lines of shell, where what is tested is ours and not Slurm."""

from pathlib import Path

import pytest

from launch import squeue

_SBATCH = """
number=$(($(cat {folder}/last) + 1)); echo $number > {folder}/last
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$2")
if [ -n "$last" ]; then for task in $(seq 0 "$last"); do echo "$number"_"$task"; done; else echo $number; fi |
sed 's/$/|PENDING|0:00|(Priority)/' >> {folder}/queue
echo $number
"""
_TOOLS = {
    "sbatch": _SBATCH,
    "squeue": "cat {folder}/queue",
    "scancel": "sed -i \"/^$1|/d\" {folder}/queue; echo \"$1\" >> {folder}/cancelled",
    "scontrol": "echo \"$*\" >> {folder}/controlled; kill -9 $PPID",  # it ends a job that it queues again
}  # fmt: skip


class Slurm:
    """A queue in a file, whose jobs start and end when a test says so."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self._folder = folder
        (folder / "last").write_text("0")
        (folder / "queue").touch()
        for name, lines in _TOOLS.items():
            self.plays(name, lines.format(folder=folder))
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.setattr(squeue, "SEEN_SECONDS", -1.0)

    def plays(self, name: str, lines: str) -> None:
        """Let a command of Slurm's be these lines of shell."""
        (self._folder / name).write_text(f"#!/bin/sh\n{lines}\n")
        (self._folder / name).chmod(0o755)

    def becomes(self, job: str, state: str) -> None:
        """Let a job be RUNNING, for example; one that is not in the queue any more has no state."""
        path = self._folder / "queue"
        others = [line for line in path.read_text().splitlines() if not line.startswith(f"{job}|")]
        mine = [f"{job}|{state}|1:02|node-3"] if state else []
        path.write_text("".join(f"{line}\n" for line in [*others, *mine]))

    def said(self, name: str) -> list[str]:
        """Return what was cancelled or controlled."""
        path = self._folder / name
        return path.read_text().splitlines() if path.exists() else []
