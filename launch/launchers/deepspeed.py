"""On the nodes of a hostfile, by DeepSpeed's launcher.

It reaches the nodes with pdsh over ssh (`apt install pdsh`, and keys that ask for no password), or, with
`no_ssh`, starts the part of one node, and the same command is run on each.
"""

import os
import re
import shlex
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launch import address, hostfile
from launch.environment import node_rank
from launch.launcher import Followed, Job
from launch.process import LAUNCHER, thread_variables
from launch.rank import clear
from launch.secrets import SECRET
from launch.several import Several

PORT = 29500
GRACE_SECONDS = 300
HERE = ("localhost", "127.0.0.1")
# What a rank on another node wants of this one's environment. DeepSpeed itself takes PYTHON* and NCCL* along.
CARRIED = re.compile(r"^(LOGLINEAR|HF|WANDB|NCCL|GLOO|TORCH|TORCHINDUCTOR|TRITON|CUDA)_")
LEFT_BEHIND = (LAUNCHER, "CUDA_VISIBLE_DEVICES")  # a process and devices of this node


@dataclass(frozen=True, kw_only=True)
class Config:
    """`include`, `exclude`: HOST or HOST:0,2, of the hostfile. `master_address`, `master_port`: where the
    ranks meet; by default the first host's own address. `environment`: names of further variables that are
    carried over. `threads`: compute threads of each process.

    With `no_ssh` the same command is run on each node, whose place in the hostfile is `node_rank`, or
    NODE_RANK in the environment.
    """

    hostfile: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    master_address: str | None = None
    master_port: int = PORT
    ssh_port: int | None = None
    no_ssh: bool = False
    node_rank: int | None = None
    threads: int | None = None
    environment: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.environment:
            # It would stand in the list of processes of every node, for everybody to read.
            if SECRET.search(name):
                raise ValueError(
                    f"environment: {name} would stand in the list of processes of every node; leave it in a"
                    " file there (wandb login, hf auth login)"
                )
        for name in ("master_port", "ssh_port"):
            port = getattr(self, name)
            if port is not None and not 0 < port < 65536:
                raise ValueError(f"{name} ({port}) must be a port, 1 to 65535")
        if self.node_rank is not None and not self.no_ssh:
            raise ValueError("node_rank is for no_ssh: otherwise one command starts all nodes")

    def build(self) -> "DeepSpeed":
        """Return the launcher; ValueError names the faults of the hostfile."""
        slots = hostfile.selected(hostfile.read(Path(self.hostfile)), self.include, self.exclude)
        if self.no_ssh:
            _check_node(self, list(slots))
        return DeepSpeed(self, slots)


class DeepSpeed:
    """Run a job on the nodes of a hostfile; `slots` are those used of each."""

    is_detached = False

    def __init__(self, config: Config, slots: Mapping[str, list[int]]):
        self._config, self._slots = config, slots
        self.processes = sum(map(len, slots.values()))
        self.on_each_node = config.no_ssh
        self._is_here = list(slots) in ([host] for host in (*HERE, socket.gethostname()))

    def script(self, job: Job) -> str:
        """Return the command of DeepSpeed's launcher, before it the file of what is carried over."""
        words = [f"{name}={shlex.quote(value)}" for name, value in self._environment(job).items()]
        command = (
            f"{' '.join([*words, shlex.join(self._command(job))])} >> {shlex.quote(str(job.log))} 2>&1\n"
        )
        if not self._has_remote:
            return command
        return f"cat > {shlex.quote(str(_file(job)))} <<'END'\n{self._carried(job)}END\n{command}"

    def submit(self, job: Job) -> Followed:
        """Start DeepSpeed's launcher as a child; ValueError where this node cannot reach the others."""
        if self._has_remote and not shutil.which("pdsh"):
            raise ValueError(
                "pdsh, which starts processes on the nodes of a hostfile, is not installed here:"
                " apt install pdsh; or set no_ssh and run this command on each node; or use kind: torchrun"
            )
        self._check_meeting()
        clear(job.folder)
        if self._has_remote:
            _file(job).write_text(self._carried(job))
        return Several(self._command(job), job, self._environment(job), GRACE_SECONDS)

    def _check_meeting(self) -> None:
        """Raise ValueError where the ranks could not meet: a name leads nowhere, a port is taken."""
        config = self._config
        first = next(iter(self._slots))
        host = config.master_address or ("127.0.0.1" if self._is_here else first)
        if self._has_remote and not config.master_address:
            return  # the first node is asked, over ssh, for an address of its own
        key = "master_address" if config.master_address else "hostfile"
        found = address.resolved_or_refused(host, key)
        # On several nodes the first rank finds out, which tells the others.
        if self._is_here and not all(address.is_free(each, config.master_port) for each in found):
            raise ValueError(
                f"master_port: {config.master_port} is taken on this node by another program; name another"
                f" one, or end that program (ss -ltnp 'sport = :{config.master_port}' names it)"
            )

    @property
    def _has_remote(self) -> bool:
        return not (self._config.no_ssh or self._is_here)

    def _command(self, job: Job) -> list[str]:
        config = self._config
        options = [f"--hostfile={config.hostfile}", f"--master_port={config.master_port}"]
        options += [f"--include={'@'.join(config.include)}"] if config.include else []
        options += [f"--exclude={'@'.join(config.exclude)}"] if config.exclude else []
        options += self._reaching()
        # At a lower level it prints what it exports to the nodes.
        options += ["--log_level=warning", "--no_local_rank", "--module"]
        return [sys.executable, "-m", "deepspeed.launcher.runner", *options, "pipeline", *job.argv]

    def _reaching(self) -> list[str]:
        """Return how the nodes are reached, and where the ranks meet."""
        config = self._config
        meeting = config.master_address
        if self._is_here and not config.no_ssh:
            return [f"--master_addr={meeting or '127.0.0.1'}", "--no_ssh_check"]
        if config.no_ssh:
            master = f"--master_addr={meeting or next(iter(self._slots))}"
            return [master, "--no_ssh", f"--node_rank={_node_rank(config)}"]
        options = ["--launcher=pdsh", "--force_multi"]  # alone, it would take a host for this one
        options += [f"--master_addr={meeting}"] if meeting else []
        return options + ([f"--ssh_port={config.ssh_port}"] if config.ssh_port else [])

    def _environment(self, job: Job) -> dict[str, str]:
        own = {"DS_ENV_FILE": os.path.abspath(_file(job))} if self._has_remote else {}  # noqa: PTH100
        return {**thread_variables(self._config.threads or 1), **own, **job.variables}

    def _carried(self, job: Job) -> str:
        """Return the file of variables that DeepSpeed exports on every node: a line NAME=value each."""
        names = {name for name in os.environ if CARRIED.match(name) and not SECRET.search(name)}
        names = (names | {name for name in self._config.environment if name in os.environ}) - set(LEFT_BEHIND)
        values = {name: os.environ[name] for name in sorted(names)}
        values |= thread_variables(self._config.threads or 1) | job.variables
        return "".join(f"{name}={_escaped(value)}\n" for name, value in values.items() if "\n" not in value)


def _node_rank(config: Config) -> int | None:
    return config.node_rank if config.node_rank is not None else node_rank()


def _check_node(config: Config, hosts: list[str]) -> None:
    """Raise ValueError where this node's place among the hosts is not known."""
    rank = _node_rank(config)
    if rank is None:
        raise ValueError(
            "no_ssh: set node_rank, or NODE_RANK in the environment, to this node's place from 0"
        )
    if rank >= len(hosts):
        raise ValueError(f"node_rank ({rank}): the hostfile's choice has {len(hosts)} nodes, counted from 0")


def _escaped(value: str) -> str:
    """Escape a value for its way: pdsh reads %, a remote shell what DeepSpeed puts in double quotes."""
    return re.sub(r'([\\"$`])', r"\\\1", value).replace("%", "%%")


def _file(job: Job) -> Path:
    return job.folder / "environment"
