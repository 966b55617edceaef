"""One turn of a job in Slurm's queue, from its start to its end, or to its place in the queue for the next.

`python -m launch.turn COMMAND` is what the batch script of `launch.launchers.slurm` becomes: the process that
Slurm warns before the time limit. It asks the ranks to save their work, tells which one failed first, and
queues the job again where they stopped with more to do.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from launch import squeue
from launch.launcher import JOB
from launch.outcome import Failure, outcome
from launch.rank import STOP, STOPPED, clear
from launch.submitted import ENDED, HALT, note_end

POLL_SECONDS = 0.5
REQUEUED_SECONDS = 60.0  # for Slurm to end this process, once it has put the job back
SIGNALS = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)


def main(command: Sequence[str]) -> int:
    """Run the command of a job and return the exit code that the job deserves."""
    folder, job = Path(os.environ[JOB]), squeue.own_id()
    clear(folder)
    (folder / ENDED).unlink(missing_ok=True)
    turn = _Turn(folder)
    _say(
        f"job {job} starts{f', restart {count}' if (count := os.environ.get('SLURM_RESTART_COUNT')) else ''}"
    )
    code = turn.run(command)
    if code and not turn.is_halted:
        if squeue.is_ending(job):
            _say("Slurm ends this turn itself; whether there is another one is its own decision")
            return code
        if code == STOPPED:
            _say("stopped with its work saved; back into the queue")
            if _queue_again(job):
                return code
    _say(f"ended with exit code {code}")
    note_end(folder, job, code)
    return code


def _queue_again(job: str) -> bool:
    """Put this job back into the queue, which ends this process; return False where Slurm does not."""
    try:
        squeue.requeue(job)
    except RuntimeError as fault:
        # The end of this turn may meet scontrol before it has told of its success.
        if not squeue.is_ending(job):
            _say(f"Slurm does not queue it again ({fault}); submit the same command again")
            return False
    time.sleep(REQUEUED_SECONDS)
    return True


class _Turn:
    """The processes of a job while they run."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._warned = 0
        for number in SIGNALS:
            signal.signal(number, self._warn)

    @property
    def is_halted(self) -> bool:
        """Whether the job was asked to end and not to be queued again."""
        return (self._folder / HALT).exists()

    def run(self, command: Sequence[str]) -> int:
        """Run the command to its end, or until its ranks have saved their work; return the exit code."""
        if self.is_halted:
            return STOPPED
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        asked = False
        while True:
            try:
                ended = child.wait(POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                pass
            if not asked and (self._warned or self.is_halted):
                asked = True
                (self._folder / STOP).touch()
                why = signal.Signals(self._warned).name if self._warned else "halt"
                _say(f"{why}: asking the ranks to save their work")
        code, failure = outcome(self._folder, ended, asked=asked)
        if failure:
            _say(_told(failure))
        return code

    def _warn(self, number: int, _: object) -> None:
        self._warned = number


def _told(failure: Failure) -> str:
    who = f"rank {failure.rank} of {failure.world_size} on {failure.node}"
    log = f"; its output is in {failure.log}" if failure.log else ""
    return f"{who} failed first (exit code {failure.exit_code}): {failure.message}{log}"


def _say(words: str) -> None:
    print(f"---- {time.strftime('%Y-%m-%d %H:%M:%S')} {words}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
