import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from launch.launcher import Job
from launch.launchers import deepspeed, local, torchrun


def job(folder: Path, *argv: str, processes: int = 1) -> Job:
    return Job(name="train", argv=argv, directory=folder, processes=processes, environment={"A": "b c"})


def own(environment: str = "A='b c' ") -> str:
    """Return the variables that every launcher sets for a job in runs/x, and the job's own."""
    folder = Path.cwd() / "runs/x/logs/train"
    return f"LOGLINEAR_JOB={folder} TORCH_EXTENSIONS_DIR={folder}/extensions {environment}"


ONE_THREAD = "OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "


def test_the_local_script_is_the_command_with_its_environment() -> None:
    script = local.Config(threads=1).build().script(job(Path("runs/x"), "train", "configs/a b.yaml"))

    assert script == (
        f"{ONE_THREAD}{own()}"
        f"{sys.executable} -m pipeline train 'configs/a b.yaml' >> runs/x/logs/train.log 2>&1\n"
    )


def test_the_torchrun_script_starts_as_many_processes_as_asked() -> None:
    script = torchrun.Config(processes=2).build().script(job(Path("runs/x"), "train", "c.yaml"))

    assert script == (
        f"{ONE_THREAD}TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 GLOO_SOCKET_IFNAME=lo {own()}"
        f"{sys.executable} -m torch.distributed.run --nnodes=1 --nproc-per-node=2 --rdzv-backend=c10d "
        "--rdzv-conf=store_type=file --local-addr=localhost --max-restarts=0 --shutdown-timeout=300 "
        "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 -m pipeline train c.yaml "
        ">> runs/x/logs/train.log 2>&1\n"
    )


def test_the_torchrun_script_of_several_nodes_meets_at_the_endpoint() -> None:
    config = torchrun.Config(
        nodes=2, processes=8, endpoint="node-0:29400", meet_seconds=90, restarts=3, grace_seconds=60
    )
    asked = Job(name="train", argv=("train", "c.yaml"), directory=Path("runs/x"), node="node-1")

    script = config.build().script(asked)

    assert script == (
        f"{ONE_THREAD}TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 {own('')}"
        f"{sys.executable} -m torch.distributed.run --nnodes=2 --nproc-per-node=8 --rdzv-backend=c10d "
        "--rdzv-endpoint=node-0:29400 --rdzv-id=x-train --rdzv-conf=join_timeout=90,read_timeout=20 "
        "--max-restarts=3 --shutdown-timeout=60 "
        "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 -m pipeline train c.yaml "
        ">> runs/x/logs/train.node-1.log 2>&1\n"
    )
    assert config.build().on_each_node


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"processes": 0}, r"processes \(0\) must be at least 1"),
        ({"nodes": 2}, "2 nodes want an endpoint"),
        ({"nodes": 2, "endpoint": "node-0"}, r"endpoint \(node-0\) must be HOST:PORT"),
        ({"restarts": -1}, r"restarts \(-1\) must be at least 0"),
    ],
)
def test_what_torchrun_could_not_start_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        torchrun.Config(**values)


def hosts(folder: Path, text: str) -> str:
    path = folder / "hosts"
    path.write_text(text)
    return str(path)


def test_the_deepspeed_script_carries_the_environment_to_the_nodes_but_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if deepspeed.CARRIED.match(name)]:
        monkeypatch.delenv(name)
    for name, value in {
        "HF_HOME": "/data/hf $x",
        "WANDB_API_KEY": "planted-secret",
        "HF_TOKEN": "planted-secret",
        "EXTRA": '50% "of" it',
        "UNASKED": "no",
        "CUDA_VISIBLE_DEVICES": "3",
        "LOGLINEAR_LAUNCHER": "1",
    }.items():
        monkeypatch.setenv(name, value)
    config = deepspeed.Config(
        hostfile=hosts(tmp_path, "node-0 slots=8\nnode-1 slots=8\n"),
        exclude=("node-1:6,7", "node-0:0"),
        master_address="10.0.0.1",
        ssh_port=2222,
        threads=1,
        environment=("EXTRA", "ABSENT"),
    )

    script = config.build().script(job(Path("runs/x"), "train", "c.yaml"))

    folder = Path.cwd() / "runs/x/logs/train"
    threads = ONE_THREAD.replace(" ", "\n")
    assert script == (
        "cat > runs/x/logs/train/environment <<'END'\n"
        'EXTRA=50%% \\"of\\" it\n'
        "HF_HOME=/data/hf \\$x\n"
        f"{threads}LOGLINEAR_JOB={folder}\nTORCH_EXTENSIONS_DIR={folder}/extensions\nA=b c\nEND\n"
        f"{ONE_THREAD}DS_ENV_FILE={folder}/environment {own()}"
        f"{sys.executable} -m deepspeed.launcher.runner --hostfile={tmp_path}/hosts --master_port=29500 "
        "--exclude=node-1:6,7@node-0:0 --launcher=pdsh --force_multi --master_addr=10.0.0.1 --ssh_port=2222 "
        "--log_level=warning --no_local_rank --module pipeline train c.yaml >> runs/x/logs/train.log 2>&1\n"
    )


def test_an_endpoint_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    config = torchrun.Config(nodes=2, endpoint="no-such-node.invalid:29400")

    with pytest.raises(ValueError, match=r"endpoint: no-such-node\.invalid does not resolve on this node"):
        config.build().submit(job(tmp_path, "train"))


def test_a_port_of_this_node_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        config = deepspeed.Config(hostfile=hosts(tmp_path, "localhost slots=2\n"), master_port=port)

        with pytest.raises(ValueError, match=f"master_port: {port} is taken on this node"):
            config.build().submit(job(tmp_path, "train"))


def test_the_deepspeed_script_for_this_node_alone_needs_no_ssh(tmp_path: Path) -> None:
    config = deepspeed.Config(hostfile=hosts(tmp_path, "localhost slots=4\n"), include=("localhost:0,1",))

    script = config.build().script(job(Path("runs/x"), "train", "c.yaml"))

    assert script == (
        f"{ONE_THREAD}{own()}{sys.executable} -m deepspeed.launcher.runner --hostfile={tmp_path}/hosts "
        "--master_port=29500 --include=localhost:0,1 --master_addr=127.0.0.1 --no_ssh_check "
        "--log_level=warning --no_local_rank --module pipeline train c.yaml >> runs/x/logs/train.log 2>&1\n"
    )


def test_the_deepspeed_script_without_ssh_starts_the_part_of_this_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_RANK", "1")
    config = deepspeed.Config(
        hostfile=hosts(tmp_path, "node-0 slots=8\nnode-1 slots=8\n"), no_ssh=True, master_port=29511
    )

    script = config.build().script(job(Path("runs/x"), "train", "c.yaml"))

    assert config.build().on_each_node
    assert script == (
        f"{ONE_THREAD}{own()}{sys.executable} -m deepspeed.launcher.runner --hostfile={tmp_path}/hosts "
        "--master_port=29511 --master_addr=node-0 --no_ssh --node_rank=1 "
        "--log_level=warning --no_local_rank --module pipeline train c.yaml >> runs/x/logs/train.log 2>&1\n"
    )


def test_what_deepspeed_could_not_start_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NODE_RANK", raising=False)
    file = hosts(tmp_path, "node-0 slots=8\n")

    with pytest.raises(ValueError, match="WANDB_API_KEY would stand in the list of processes"):
        deepspeed.Config(hostfile=file, environment=("WANDB_API_KEY",))
    with pytest.raises(ValueError, match="node_rank is for no_ssh"):
        deepspeed.Config(hostfile=file, node_rank=0)
    with pytest.raises(ValueError, match="set node_rank, or NODE_RANK in the environment"):
        deepspeed.Config(hostfile=file, no_ssh=True).build()
    with pytest.raises(ValueError, match=r"node_rank \(1\): the hostfile's choice has 1 nodes"):
        deepspeed.Config(hostfile=file, no_ssh=True, node_rank=1).build()
    nowhere = hosts(tmp_path, "no-such-node.invalid slots=1\n")
    with pytest.raises(ValueError, match=r"hostfile: no-such-node\.invalid does not resolve on this node"):
        deepspeed.Config(hostfile=nowhere, no_ssh=True, node_rank=0).build().submit(job(tmp_path, "train"))
    hosts(tmp_path, "node-0 slots=8\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="apt install pdsh"):
        deepspeed.Config(hostfile=file).build().submit(job(tmp_path, "train"))


def test_a_job_says_how_many_processes_it_wants() -> None:
    script = torchrun.Config(processes=2).build().script(job(Path("x"), "train", processes=4))

    assert "--nproc-per-node=4" in script


def test_a_started_job_writes_its_log_and_returns_its_exit_code(tmp_path: Path) -> None:
    submission = local.Config().build().submit(job(tmp_path, "train", str(tmp_path / "missing.yaml")))

    assert submission.wait() == 2
    assert submission.poll() == 2
    assert submission.output == tmp_path / "logs" / "train.log"
    assert "missing.yaml: no such file" in (tmp_path / "logs" / "train.log").read_text()


def test_several_processes_want_another_launcher(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="use kind: torchrun"):
        local.Config().build().submit(job(tmp_path, "train", processes=2))


def test_a_job_can_be_stopped(tmp_path: Path) -> None:
    from launch.process import Process

    process = Process([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log", {})
    assert process.poll() is None
    start = time.monotonic()
    process.stop()

    assert process.poll() == -15
    assert time.monotonic() - start < 30


def test_a_job_ends_when_the_process_that_launched_it_is_killed(tmp_path: Path) -> None:
    job_code = (
        "import time; from launch.process import end_with_launcher; end_with_launcher(); "
        "print('up', flush=True); time.sleep(60)"
    )
    launcher_code = (
        "import sys; from pathlib import Path; from launch.process import Process\n"
        f"job = Process([sys.executable, '-c', {job_code!r}], Path({str(tmp_path / 'log')!r}), {{}})\n"
        "print(job.id, flush=True); job.wait()"
    )
    launcher = subprocess.Popen([sys.executable, "-c", launcher_code], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    process = int(launcher.stdout.readline())
    while "up" not in (tmp_path / "log").read_text():
        time.sleep(0.02)
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()

    deadline = time.monotonic() + 20
    while Path(f"/proc/{process}").exists() and "Z" not in Path(f"/proc/{process}/stat").read_text():
        assert time.monotonic() < deadline, "the job outlived its launcher"
        time.sleep(0.05)
