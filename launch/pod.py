"""One pod of a job on Kubernetes, from its start to its end: `python -m launch.pod OPTIONS -- ARGUMENTS`.

The command of the container that `launch.launchers.kubernetes` asks for, and the process that the cluster
warns before it takes the pod away. It starts the part of this pod, asks the ranks of all pods to save their
work when it is warned, and ends with the code that the cluster's rules are about: 75 starts the pod again
and counts as no failure.
"""

import argparse
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from launch import address
from launch.environment import node_name, node_rank
from launch.launcher import JOB, Followed, Job
from launch.launchers import local, torchrun
from launch.outcome import outcome
from launch.rank import STOPPED, records
from launch.submitted import HALT, note_end

BAD_INPUT = 2  # the exit code of a wrong configuration, which no repetition mends
POLL_SECONDS = 0.5
CONNECT_SECONDS = 5.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def main(words: Sequence[str]) -> int:
    """Run this pod's part of a job and return the exit code that the pod deserves."""
    options = _parser().parse_args(words)
    folder = Path(os.environ[JOB])
    several = options.nodes * options.processes > 1
    job = Job(
        name=folder.name,
        argv=tuple(options.argv),
        directory=folder.parents[1],
        node=node_name() if several else "",
    )
    pod = _Pod(job, options, several)  # hears signals from here on
    _say(f"pod {node_rank()} of {options.nodes}, {job.name} in {job.directory}; output in {folder}")
    code = pod.run()
    is_halted = code == STOPPED and (folder / HALT).exists()
    if node_rank() == 0 and (is_halted or code in (0, BAD_INPUT)):
        note_end(folder, options.id, code)  # after anything else the cluster may start the pod again
    _say(f"ends with exit code {code}{', not to be started again' if is_halted else ''}")
    return 0 if is_halted else code


class _Pod:
    """The processes of this pod while they run."""

    def __init__(self, job: Job, options: argparse.Namespace, several: bool):
        self._job, self._options, self._several = job, options, several
        self._warned = 0
        for number in SIGNALS:
            signal.signal(number, self._warn)

    def run(self) -> int:
        """Run this pod's part to its end, or until its work is saved; return the exit code."""
        if not self._is_reachable():
            return STOPPED if self._is_asked else 1
        try:
            submission = self._start()
        except ValueError as fault:
            _say(str(fault))
            return 1
        return self._end(self._follow(submission))

    def _is_reachable(self) -> bool:
        """Wait for the first pod to be placed, have a name and listen; tell whether it came to that.

        torchrun itself gives up within a minute, and the pod's image may take longer to arrive.
        """
        until = time.monotonic() + self._options.meet_seconds
        while self._options.nodes > 1 and not self._is_asked:
            try:
                self._reach()
            except OSError as fault:
                if time.monotonic() > until:
                    _say(f"{self._options.endpoint}: {fault.strerror or fault}; was the first pod placed?")
                    return False
                time.sleep(POLL_SECONDS)
            else:
                return True
        return not self._is_asked

    def _reach(self) -> None:
        """Find the first pod, or as the first one its own name; OSError where that is not possible yet."""
        host, _, port = self._options.endpoint.rpartition(":")
        if node_rank() == 0:
            address.resolved(host)
        else:
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()

    def _start(self) -> Followed:
        options = self._options
        if not self._several:
            return local.Config(threads=options.threads).build().submit(self._job)
        asked = torchrun.Config(
            nodes=options.nodes,
            processes=options.processes,
            endpoint=options.endpoint,
            threads=options.threads,
            grace_seconds=options.grace_seconds,
            meet_seconds=options.meet_seconds,
        )
        return asked.build().submit(self._job)

    def _follow(self, submission: Followed) -> int:
        """Wait for the end, and ask for it when this process is asked; return the exit code."""
        passed_on = False
        while (code := submission.poll()) is None:
            if self._is_asked and not passed_on:
                passed_on = True
                _say(f"{self._why}: asking all ranks to save their work")
                submission.ask()
                if self._several and not self._ranks():
                    os.kill(int(submission.id), signal.SIGTERM)  # torchrun still waits for other pods
            time.sleep(POLL_SECONDS)
        return code

    def _end(self, code: int) -> int:
        """Return the exit code that this pod deserves, and tell of a failure."""
        if not self._ranks() and (self._is_asked or code == 0):
            return STOPPED  # before they began, or another pod has started again and removed what they left
        code, failure = outcome(self._job.folder, code, self._job.node, self._is_asked)
        if failure:
            who = f"rank {failure.rank} of {failure.world_size} on {failure.node}"
            _say(f"{who} failed first (exit code {failure.exit_code}): {failure.message}")
        return code

    def _ranks(self) -> bool:
        """Tell whether a rank of this pod has left word."""
        return any(record["node"] == node_name() for record in records(self._job.folder))

    @property
    def _is_asked(self) -> bool:
        return bool(self._warned) or (self._job.folder / HALT).exists()

    @property
    def _why(self) -> str:
        return signal.Signals(self._warned).name if self._warned else HALT

    def _warn(self, number: int, _: object) -> None:
        self._warned = number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m launch.pod", description=__doc__)
    parser.add_argument("--id", required=True, help="of the job in the cluster")
    for name in ("nodes", "processes", "threads", "grace-seconds", "meet-seconds"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--endpoint", required=True, help="HOST:PORT at which the pods meet")
    parser.add_argument("argv", nargs="+", help="what follows `loglinear`")
    return parser


def _say(words: str) -> None:
    print(f"---- {time.strftime('%Y-%m-%d %H:%M:%S')} {words}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
