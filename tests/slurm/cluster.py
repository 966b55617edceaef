"""A real Slurm cluster of this one machine, for as long as a test needs it.

Wants Debian's Slurm (`apt-get install --no-install-recommends slurm-wlm munge`) and root. Works in a bare
container: processes are found in /proc, without cgroups, and every file is in a folder of its own. A second
node is this machine under another host name, in namespaces of its own, where those can be made.
"""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo")
START_SECONDS = 60
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
KillWait=1
{nodes}
PartitionName=tests Nodes=ALL Default=YES State=UP
"""


def missing() -> str:
    """Return why no cluster can be started here and what helps, or nothing."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    absent = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install --no-install-recommends slurm-wlm munge"
    return "" if os.geteuid() == 0 else "Slurm's daemons want root here: run the tests as root"


@contextmanager
def joined(nodes: int = 1) -> Iterator[pytest.MonkeyPatch]:
    """Start a cluster that what this process starts belongs to; skips where there can be none."""
    if reason := missing():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder).chmod(0o755)
        with cluster(Path(folder), nodes) as environment:
            for name, value in environment.items():
                patch.setenv(name, value)
            yield patch


def can_have_nodes() -> bool:
    """Tell whether a process can be given a host name and a file of host names of its own."""
    done = subprocess.run(["unshare", "--uts", "--mount", "true"], capture_output=True, check=False)
    return done.returncode == 0


@contextmanager
def cluster(folder: Path, nodes: int = 1) -> Iterator[dict[str, str]]:
    """Start the daemons, all their files in an empty folder; yield the environment that finds them."""
    host = socket.gethostname().partition(".")[0]
    names = [host, *(f"{host}-{number}" for number in range(1, nodes))]
    for name in ("state", *(f"spool-{name}" for name in names)):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o600)
    (folder / "hosts").write_text(f"127.0.0.1 localhost {' '.join(names)}\n")
    lines = [
        f"NodeName={name} NodeAddr=127.0.0.1 Port={free_port()} CPUs=4 RealMemory=16000" for name in names
    ]
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(host=host, folder=folder, port=free_port(), nodes="\n".join(lines))
    )
    environment = {
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin",
    }
    files = [f"--{name}={folder}/munge.{end}" for name, end in _MUNGE.items()]
    with ExitStack() as daemons:
        # The daemons end in the opposite order, each by its own process id.
        daemons.enter_context(running(folder, environment, "munged", "--foreground", "--force", *files))
        until((folder / "munge.socket").exists, folder)
        daemons.enter_context(running(folder, environment, "slurmctld", "-D"))
        for name in names:
            shell = [*_NODE, str(folder / "hosts"), name] if nodes > 1 else []
            daemons.enter_context(running(folder, environment, *shell, "slurmd", "-D", "-N", name))
        until(
            lambda: _said(environment, "sinfo", "-N", "--noheader", "--format=%t").count("idle") == nodes,
            folder,
        )
        yield environment


# A shell that becomes a daemon which has a host name, and knows those of the others.
_NODE = (
    *("unshare", "--uts", "--mount", "sh", "-c"),
    'mount --bind "$0" /etc/hosts; hostname "$1"; shift; exec "$@"',
)
_MUNGE = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}


@contextmanager
def running(folder: Path, environment: dict[str, str], *command: str) -> Iterator[None]:
    """Keep a daemon running, its output in the folder."""
    with (folder / f"{command[0]}-{command[-1].rpartition('/')[2]}.out").open("wb") as output:
        daemon = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **environment}, cwd=folder
        )
        try:
            yield
        finally:
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def until(is_true: Callable[[], bool], folder: Path) -> None:
    """Wait for something that the daemons do; their logs are told if they do not."""
    start = time.monotonic()
    while not is_true():
        if time.monotonic() - start > START_SECONDS:
            logs = "\n".join(f"{path.name}:\n{path.read_text()}" for path in sorted(folder.glob("*.out")))
            raise TimeoutError(f"Slurm did not start within {START_SECONDS} s\n{logs}")
        time.sleep(0.1)


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _said(environment: dict[str, str], *command: str) -> str:
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    ).stdout
