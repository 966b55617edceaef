"""On this node, or on several that meet at an address: one process per device, started by torchrun."""

import re
import shlex
import sys
from dataclasses import dataclass

from launch.launcher import Followed, Job
from launch.process import thread_variables
from launch.rank import clear
from launch.several import Several

# SIGUSR1 is what clusters send some time before they take a node away.
SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
_ENDPOINT = re.compile(r"^(\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+):(\d{1,5})$")


@dataclass(frozen=True, kw_only=True)
class Config:
    """`processes`: on each node, unless the job says more than one; `threads`: compute threads of each.

    With several `nodes` the same command is run on each of them, and they meet at `endpoint`, the HOST:PORT
    of one of them. `restarts`: how often the processes are started again together after one has failed.
    `grace_seconds`: from a signal to the kill; a checkpoint must fit in it.
    """

    processes: int = 1
    threads: int | None = None
    nodes: int = 1
    endpoint: str | None = None
    restarts: int = 0
    grace_seconds: int = 300

    def __post_init__(self) -> None:
        for name, least in (("processes", 1), ("nodes", 1), ("restarts", 0), ("grace_seconds", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least {least}")
        if self.nodes > 1 and not self.endpoint:
            raise ValueError(f"{self.nodes} nodes want an endpoint to meet at: HOST:PORT of one of them")
        if self.endpoint and not _ENDPOINT.match(self.endpoint):
            raise ValueError(f"endpoint ({self.endpoint}) must be HOST:PORT, for example node-0:29400")

    def build(self) -> "Torchrun":
        """Return the launcher."""
        return Torchrun(self)


class Torchrun:
    """Run a job as several processes on this node, and perhaps on others at the same time."""

    def __init__(self, config: Config):
        self._config = config
        self.processes = config.processes * config.nodes
        self.on_each_node = config.nodes > 1

    def script(self, job: Job) -> str:
        """Return the torchrun command with its environment."""
        words = [f"{name}={shlex.quote(value)}" for name, value in self._environment(job).items()]
        return f"{' '.join([*words, shlex.join(self._command(job))])} >> {shlex.quote(str(job.log))} 2>&1\n"

    def submit(self, job: Job) -> Followed:
        """Start torchrun as a child."""
        clear(job.folder)
        return Several(self._command(job), job, self._environment(job), self._config.grace_seconds)

    def _command(self, job: Job) -> list[str]:
        config = self._config
        options = [
            f"--nnodes={config.nodes}",
            f"--nproc-per-node={job.processes if job.processes > 1 else config.processes}",
            *self._rendezvous(job),
            f"--max-restarts={config.restarts}",
            f"--shutdown-timeout={config.grace_seconds}",
            f"--signals-to-handle={SIGNALS}",
        ]
        return [sys.executable, "-m", "torch.distributed.run", *options, "-m", "pipeline", *job.argv]

    def _rendezvous(self, job: Job) -> list[str]:
        if self._config.nodes == 1:
            # A laptop's own name often leads nowhere.
            return ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "--local-addr=localhost"]
        name = re.sub(r"[^\w.-]", "-", f"{job.directory.name}-{job.name}")
        return ["--rdzv-backend=c10d", f"--rdzv-endpoint={self._config.endpoint}", f"--rdzv-id={name}"]

    def _environment(self, job: Job) -> dict[str, str]:
        # torch 2.13 lets restarted processes meet through the store of those before, whose addresses they
        # wait for without end; unshared, each restart has a store of its own.
        own = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"} if self._config.restarts else {}
        return {**thread_variables(self._config.threads or 1), **own, **job.variables}
