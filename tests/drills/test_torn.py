"""kill -9 while a checkpoint is written: the newest whole one is used, the torn one named and removed."""

from __future__ import annotations

import signal
import time
from itertools import count
from pathlib import Path

import pytest

from pipeline.errors import FormatError
from pipeline.formats.checkpoint import verify
from tests.drills.conftest import Drill
from tests.drills.jobs import Command, Job, ended, hold, many_small_steps, wait_for

STEPS, SAVED_EVERY = 24, 3


class Saving(Job):
    """A run that mostly writes checkpoints; each start after a kill must tell what it found of them."""

    def __init__(self, folder: Path, dataset: Path, engine: str, processes: int):
        # Weights and moments of 3.7 million parameters, twice the weights: 60 MB.
        shape = {"n_layer": 2, "n_head": 2, "n_embd": 384, "n_ctx": 16, "vocab_size": 300, "dropout": 0.1}
        values = many_small_steps(
            dataset,
            model=shape,
            global_batch_tokens=64,
            train_tokens=STEPS * 64,
            validation={"every_steps": 0, "tokens": 64},
            checkpoint={"every_steps": SAVED_EVERY, "keep": 2},
        )
        super().__init__(folder, values, engine, processes)
        self._log = self.run.directory / "logs" / ("train.log" if processes == 1 else "train/rank-0.log")
        self._torn: list[Path] = []
        self._newest: Path | None = None
        self._logged = 0

    def start(self, processes: int | None = None) -> Command:
        """Start the command, and remember what it finds."""
        self._torn, self._newest = self.drafts(), self._newest_whole()
        self._logged = self._log.stat().st_size if self._log.exists() else 0
        return super().start(processes)

    def finish(self, processes: int | None = None) -> str:
        """Run the command to the end of the run."""
        told = super().finish(processes)
        self.assert_told()
        return told

    def drafts(self) -> list[Path]:
        """Return the checkpoints that are being written, or were when their writer was killed."""
        return list(self.run.checkpoint_folder.glob(".step-*.partial-*"))

    def torn(self, number: int, seconds: float) -> bool:
        """Start, and kill all so many seconds into the writing of a checkpoint; tell whether one was torn.

        A run that comes to its end before ends this too.
        """
        command = self.start()
        found: set[Path] = set()
        wait_for(command, lambda: self.run.attempts() and not any(map(Path.exists, self._torn)))
        processes = self.alive()
        wait_for(command, lambda: len(found.update(self.drafts()) or found) >= number)
        time.sleep(seconds)
        self.kill_all(reversed(processes))
        code, said = ended(command)
        assert code in (0, -signal.SIGKILL), said
        self.assert_told()
        return bool(self.drafts())

    def assert_told(self) -> None:
        """Hold the last start to have named and removed what was torn, and gone on from the newest whole."""
        with self._log.open("rb") as file:
            file.seek(self._logged)
            told = file.read().decode()
        for path in self._torn:
            assert f"{path}: half written by a process that is gone; removed" in told
            assert not path.exists()
        assert told.count("goes on from") == bool(self._newest)
        assert not self._newest or f"goes on from {self._newest}\n" in told

    def _newest_whole(self) -> Path | None:
        for checkpoint in reversed(self.run.checkpoints()):
            try:
                verify(checkpoint)
            except FormatError:
                continue
            return checkpoint
        return None


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "processes"), [("single", 1), ("fsdp2", 2)])
def test_a_torn_checkpoint_is_named_and_removed_and_the_one_before_it_used(
    drill: Drill, dataset: Path, tmp_path: Path, engine: str, processes: int
) -> None:
    drill.promise("R1, R2", f"kill -9 of all while a checkpoint is written, {engine} on {processes}")
    whole = Saving(tmp_path / "whole", dataset, engine, processes)
    whole.finish()
    events = [row for row in whole.run.rows() if row.get("event") == "checkpoint"]
    longest = max(event["write_seconds"] for event in events)

    def disturb(job: Saving) -> bool:
        while not job.run.finished:
            if job.torn(drill.random.randint(1, 2), drill.random.uniform(0, longest)):
                return True
        return False

    jobs = (Saving(tmp_path / str(number), dataset, engine, processes) for number in count())
    hold(drill, jobs, whole.run, disturb)
