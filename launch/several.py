"""A job of several processes, through a child of this one that starts them."""

from collections.abc import Mapping, Sequence

from launch.launcher import Job
from launch.process import Process
from launch.rank import STOP


class Several(Process):
    """A started launcher such as torchrun; its ranks write logs of their own, and rank 0's is followed."""

    def __init__(self, command: Sequence[str], job: Job, environment: Mapping[str, str], grace: float):
        super().__init__(command, job.log, environment, grace)
        self.output = job.folder / "rank-0.log"
        self._stop = job.folder / STOP

    def ask(self) -> None:
        """Ask the ranks to checkpoint and end.

        Each reads it for itself, on whatever node. DeepSpeed's launcher passes a signal on to one rank after
        the other and kills, and what started it dies of the signal and leaves it behind.
        """
        self._stop.touch()
