"""The command of a pod, as the cluster starts it, warns it and reads its exit code: real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from launch.rank import records
from launch.submitted import HALT
from tests.pipeline.train.conftest import dataset, values  # noqa: F401 - fixtures


def pod(
    folder: Path, number: int = 0, nodes: int = 1, endpoint: str = "", meet: int = 300
) -> subprocess.Popen[str]:
    """Start the part of one pod of a training job in a folder RUN/logs/train."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [
        f"--nodes={nodes}",
        "--processes=1",
        "--threads=1",
        "--grace-seconds=60",
        f"--meet-seconds={meet}",
    ]
    words += ["--id=cluster/x", f"--endpoint={endpoint}", "--", "train", str(folder.parent / "train.yaml")]
    environment = {**os.environ, "LOGLINEAR_JOB": str(folder), "NODE_RANK": str(number)}
    started = subprocess.Popen(
        [sys.executable, "-m", "launch.pod", *words], env=environment, stderr=subprocess.PIPE, text=True
    )
    _started.append(started)
    return started


_started: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """End what a failed test has started: what a pod starts ends with it."""
    yield
    for one in _started:
        if one.poll() is None:
            one.kill()
            one.wait()
    _started.clear()


def ended(*pods: subprocess.Popen[str]) -> tuple[list[int], str]:
    said = [one.communicate(timeout=400)[1] for one in pods]
    return [one.returncode for one in pods], "\n".join(said)


def until(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + 400
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_wrong_configuration_is_for_the_cluster_to_end_the_job(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "train"

    codes, _ = ended(pod(folder))

    assert codes == [2]
    assert json.loads((folder / "ended.json").read_text()) == {"id": "cluster/x", "exit_code": 2}
    assert "train.yaml" in (tmp_path / "logs" / "train.log").read_text()


def test_a_job_that_was_asked_to_end_is_not_started_again(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "train"
    folder.mkdir(parents=True)
    (folder / HALT).touch()

    codes, said = ended(pod(folder))

    assert codes == [0]
    assert "not to be started again" in said
    assert json.loads((folder / "ended.json").read_text())["exit_code"] == 75


def test_a_pod_whose_first_one_is_never_placed_says_so(tmp_path: Path) -> None:
    codes, said = ended(pod(tmp_path / "logs" / "train", 1, nodes=2, endpoint="x-0.invalid:29400", meet=1))

    assert codes == [1]
    assert "x-0.invalid:29400: Name or service not known; was the first pod placed?" in said
    assert not (tmp_path / "logs" / "train" / "ended.json").exists()


def test_a_pod_that_is_taken_away_before_it_began_is_no_failure(tmp_path: Path) -> None:
    waiting = pod(tmp_path / "logs" / "train", 1, nodes=2, endpoint="x-0.invalid:29400")
    assert waiting.stderr is not None
    waiting.stderr.readline()  # it is up

    waiting.send_signal(signal.SIGTERM)

    assert ended(waiting)[0] == [75]


@pytest.mark.slow
@pytest.mark.timeout(900)  # where others use the machine
def test_all_pods_save_when_one_is_taken_away_and_go_on_when_they_are_started_again(
    tmp_path: Path,
    values: dict,  # type: ignore[type-arg] # noqa: F811
) -> None:
    run = tmp_path / "run"
    folder = run / "logs" / "train"
    folder.mkdir(parents=True)
    engine = {"kind": "ddp", "device": "cpu"}
    long = {
        **values,
        "engine": engine,
        "train_tokens": 400 * 64,
        "micro_batch_sequences": 2,
        "log_every_steps": 1,
    }
    (run / "logs" / "train.yaml").write_text(yaml.safe_dump(long))
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"

    first = [pod(folder, number, nodes=2, endpoint=endpoint) for number in (0, 1)]
    until(lambda: (run / "metrics.jsonl").exists() and (run / "metrics.jsonl").read_text().count("\n") > 3)
    first[1].send_signal(signal.SIGTERM)
    codes, said = ended(*first)

    assert codes == [75, 75], said
    assert [record["exit_code"] for record in records(folder)] == [75, 75]
    assert list((run / "checkpoints").iterdir())

    codes, said = ended(*(pod(folder, number, nodes=2, endpoint=endpoint) for number in (0, 1)))

    assert codes == [0, 0], said
    assert json.loads((folder / "ended.json").read_text())["exit_code"] == 0
