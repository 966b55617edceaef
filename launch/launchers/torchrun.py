"""On this node, or on several that meet at an address: one process per device, started by torchrun."""

import os
import re
import shlex
import sys
from dataclasses import dataclass

from launch import address
from launch.environment import node_rank
from launch.launcher import Followed, Job
from launch.process import thread_variables
from launch.rank import clear
from launch.several import LINGER_SECONDS, Several

# SIGUSR1 is what clusters send some time before they take a node away.
SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
# Of one attempt to reach the endpoint. torch makes two, and tells of neither before it gives up.
CONNECT_SECONDS = 20
START_SECONDS = 120  # of torchrun and of a rank, until they can do anything
LOOPBACK_INTERFACE = "lo0" if sys.platform == "darwin" else "lo"
_ENDPOINT = re.compile(r"^(\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+):(\d{1,5})$")


@dataclass(frozen=True, kw_only=True)
class Config:
    """`processes`: on each node, unless the job says more than one; `threads`: compute threads of each.

    With several `nodes` the same command is run on each of them, and they meet at `endpoint`, the HOST:PORT
    of one of them, which is to be started first. `meet_seconds`: how long they wait for each other there, at
    the start and after a failure. `restarts`: how often the processes are started again together after one
    has failed. `grace_seconds`: from a signal to the kill; a checkpoint must fit in it.
    """

    processes: int = 1
    threads: int | None = None
    nodes: int = 1
    endpoint: str | None = None
    meet_seconds: int = 300
    restarts: int = 0
    grace_seconds: int = 300

    def __post_init__(self) -> None:
        least_of = {"processes": 1, "nodes": 1, "restarts": 0, "grace_seconds": 1, "meet_seconds": 1}
        for name, least in least_of.items():
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

    is_detached = False

    def __init__(self, config: Config):
        self._config = config
        self.processes = config.processes * config.nodes
        self.on_each_node = config.nodes > 1

    def script(self, job: Job) -> str:
        """Return the torchrun command with its environment."""
        words = [f"{name}={shlex.quote(value)}" for name, value in self._environment(job).items()]
        return f"{' '.join([*words, shlex.join(self._command(job))])} >> {shlex.quote(str(job.log))} 2>&1\n"

    def submit(self, job: Job) -> Followed:
        """Start torchrun as a child; ValueError where there is no way from this node to the endpoint."""
        here = _Here(self._config.endpoint) if self._config.endpoint and self.on_each_node else None
        environment = {**self._environment(job), **(here.variables if here else {})}
        command = self._command(job, meets_here=bool(here and here.must_be_told))
        clear(job.folder)
        # With restarts left, the ranks of this node wait for those of others before they begin again.
        meet = self._config.meet_seconds
        linger = LINGER_SECONDS + (meet if self._config.restarts else 0)
        return Several(command, job, environment, self._config.grace_seconds, linger, meet + START_SECONDS)

    def _command(self, job: Job, meets_here: bool = False) -> list[str]:
        config = self._config
        options = [
            f"--nnodes={config.nodes}",
            f"--nproc-per-node={job.processes if job.processes > 1 else config.processes}",
            *self._rendezvous(job, meets_here),
            f"--max-restarts={config.restarts}",
            f"--shutdown-timeout={config.grace_seconds}",
            f"--signals-to-handle={SIGNALS}",
        ]
        return [sys.executable, "-m", "torch.distributed.run", *options, "-m", "pipeline", *job.argv]

    def _rendezvous(self, job: Job, meets_here: bool) -> list[str]:
        config = self._config
        if config.nodes == 1:
            # A laptop's own name often leads nowhere; and nobody outside can ask a file what a store tells.
            return ["--rdzv-backend=c10d", "--rdzv-conf=store_type=file", "--local-addr=localhost"]
        name = re.sub(r"[^\w.-]", "-", f"{job.directory.name}-{job.name}")
        settings = [f"join_timeout={config.meet_seconds}", f"read_timeout={CONNECT_SECONDS}"]
        settings += ["is_host=true"] if meets_here else []
        return [
            "--rdzv-backend=c10d",
            f"--rdzv-endpoint={config.endpoint}",
            f"--rdzv-id={name}",
            f"--rdzv-conf={','.join(settings)}",
        ]

    def _environment(self, job: Job) -> dict[str, str]:
        own = meeting_variables(self._config.nodes, self._config.restarts)
        return {**thread_variables(self._config.threads or 1), **own, **job.variables}


def meeting_variables(nodes: int, restarts: int) -> dict[str, str]:
    """Return what the ranks of torchrun want to know of the place where they meet."""
    # torch 2.13 lets restarted processes meet through the store of those before, whose addresses they
    # wait for without end; unshared, each restart has a store of its own.
    unshared = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    if nodes == 1:
        # The ranks then have a store of their own (`pipeline.trainer.collective`), on loopback like gloo.
        return {**unshared, "GLOO_SOCKET_IFNAME": LOOPBACK_INTERFACE}
    return unshared if restarts else {}


class _Here:
    """What this node is to the endpoint, where its own name, from which torch concludes it, does not say."""

    def __init__(self, endpoint: str):
        host = endpoint.rpartition(":")[0].strip("[]")
        found = address.resolved_or_refused(host, "endpoint")
        _check_port(found, int(endpoint.rpartition(":")[2]))
        is_outside = not any(map(address.is_loopback, found)) and not address.is_named()
        # Where several nodes share this one's addresses, the first of them is the one.
        self.must_be_told = is_outside and any(map(address.is_ours, found)) and not node_rank()
        self.variables = {}
        if is_outside and "PET_LOCAL_ADDR" not in os.environ:
            try:
                self.variables["PET_LOCAL_ADDR"] = address.toward(found[0])
            except OSError as fault:
                raise ValueError(
                    f"endpoint: no way from this node to {host} at {found[0]} ({fault.strerror});"
                    " see `ip route` here"
                ) from None


def _check_port(found: list[str], port: int) -> None:
    """Raise ValueError where another program listens at the endpoint: torchrun would wait for its answer."""
    ours = [each for each in found if address.is_ours(each)]
    if all(address.is_free(each, port) for each in ours):
        return
    holder = address.listener(port)
    if "torch.distributed.run" not in holder and (holder or not node_rank()):
        by = f"by {holder[:80]!r}" if holder else "by a program of another user"
        raise ValueError(
            f"endpoint: port {port} is taken on this node {by}; name another port, on every node, or end that"
            " program"
        )
