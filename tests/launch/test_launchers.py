import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch.launcher import Job
from launch.launchers import local, torchrun


def job(folder: Path, *argv: str, processes: int = 1) -> Job:
    return Job(name="train", argv=argv, directory=folder, processes=processes, environment={"A": "b c"})


def test_the_local_script_is_the_command_with_its_environment() -> None:
    script = local.Config(threads=1).build().script(job(Path("runs/x"), "train", "configs/a b.yaml"))

    assert script == (
        "OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 A='b c' "
        f"{sys.executable} -m pipeline train 'configs/a b.yaml' >> runs/x/logs/train.log 2>&1\n"
    )


def test_the_torchrun_script_starts_as_many_processes_as_asked() -> None:
    script = torchrun.Config(processes=2).build().script(job(Path("runs/x"), "train", "c.yaml"))

    assert script == (
        "OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 A='b c' "
        f"{sys.executable} -m torch.distributed.run --nproc-per-node=2 --rdzv-backend=c10d "
        "--rdzv-endpoint=localhost:0 --shutdown-timeout=300 "
        "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 -m pipeline train c.yaml "
        ">> runs/x/logs/train.log 2>&1\n"
    )


def test_a_job_says_how_many_processes_it_wants() -> None:
    script = torchrun.Config(processes=2).build().script(job(Path("x"), "train", processes=4))

    assert "--nproc-per-node=4" in script


def test_a_started_job_writes_its_log_and_returns_its_exit_code(tmp_path: Path) -> None:
    submission = local.Config().build().submit(job(tmp_path, "train", str(tmp_path / "missing.yaml")))

    assert submission.wait() == 2
    assert submission.poll() == 2
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
