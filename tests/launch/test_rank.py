"""Ranks as a launcher starts them, each a process of its own, and what is read from what they leave."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch.outcome import end_of_output, outcome
from launch.rank import STOP, clear, reporting

START = "import os, signal, sys, time\nfrom pathlib import Path\nfrom launch import rank\n"
BODY = "with rank.reporting() as farewell:\n"


def start(folder: Path, rank: int, body: str, before: str = "", **variables: str) -> subprocess.Popen[bytes]:
    """Start one of two ranks; `body` is what it does."""
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    names = {"LOGLINEAR_JOB": str(folder), "RANK": str(rank), "WORLD_SIZE": "2", "FOLDER": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", f"{START}{before}\nfolder = Path(os.environ['FOLDER'])\n{BODY}{indented}"],
        env={**os.environ, **names, **variables},
    )


def until(text: str) -> str:
    return f"while not ({text}): time.sleep(0.02)\n"


def ended(*ranks: subprocess.Popen[bytes]) -> list[int]:
    return [rank.wait(30) for rank in ranks]


def test_each_rank_has_a_log_of_its_own_for_all_that_it_says(tmp_path: Path) -> None:
    says = "print('aloud', rank.environment.rank()); os.write(2, b'from below\\n'); sys.exit(farewell(0))"

    assert ended(*(start(tmp_path, rank, says) for rank in (0, 1))) == [0, 0]

    for rank in (0, 1):
        lines = (tmp_path / f"rank-{rank}.log").read_text().splitlines()
        assert f"rank {rank} of 2 on " in lines[0]
        assert sorted(lines[1:]) == [f"aloud {rank}", "from below"]
    assert outcome(tmp_path, 0) == (0, None)


def test_the_rank_that_failed_first_is_told_and_not_what_followed_from_it(tmp_path: Path) -> None:
    first = start(tmp_path, 1, "raise RuntimeError('the cause')")
    second = start(
        tmp_path, 0, until("(folder / 'first-failure-0').exists()") + "raise RuntimeError('peer is gone')"
    )
    assert ended(first, second) == [1, 1]

    code, failure = outcome(tmp_path, 1)

    assert code == 1 and failure is not None
    assert (failure.rank, failure.world_size, failure.message) == (1, 2, "RuntimeError: the cause")
    assert failure.log is not None and failure.log_bytes is not None
    assert failure.log.read_bytes()[failure.log_bytes :].startswith(b"Traceback")
    assert end_of_output(tmp_path, 1) == failure.log_bytes


def test_a_lost_connection_that_is_noted_before_its_cause_is_not_taken_for_it(tmp_path: Path) -> None:
    lost = "raise RuntimeError('[pair.cc:553] Connection closed by peer [127.0.0.1]:29109')"
    assert ended(start(tmp_path, 0, lost)) == [1]
    assert ended(start(tmp_path, 1, "raise RuntimeError('the cause')")) == [1]

    _, failure = outcome(tmp_path, 1)

    assert failure is not None and (failure.rank, failure.message) == (1, "RuntimeError: the cause")


def test_a_killed_rank_is_told_by_the_one_that_noticed(tmp_path: Path) -> None:
    killed = start(tmp_path, 1, until("(folder / 'rank-0.json').exists()") + "os.kill(os.getpid(), 9)")
    left = start(tmp_path, 0, until("(folder / 'killed').exists()") + "raise RuntimeError('peer is gone')")
    assert ended(killed) == [-9]
    (tmp_path / "killed").touch()
    assert ended(left) == [1]

    code, failure = outcome(tmp_path, 1)

    assert failure is not None
    assert (code, failure.rank) == (1, 1)
    assert "without a word: killed" in failure.message


def test_a_crash_below_python_leaves_its_stack_in_the_log(tmp_path: Path) -> None:
    assert ended(start(tmp_path, 1, "os.abort()")) == [-6]

    log = (tmp_path / "rank-1.log").read_text()
    assert "Fatal Python error: Aborted" in log and 'File "<string>"' in log


def test_a_kill_that_nobody_noticed_is_no_success(tmp_path: Path) -> None:
    assert ended(start(tmp_path, 0, "os.kill(os.getpid(), 9)")) == [-9]

    code, failure = outcome(tmp_path, 0)

    assert code == 1 and failure is not None and failure.rank == 0
    assert outcome(tmp_path, 0, node="another") == (0, None)
    assert outcome(tmp_path, 0, asked=True) == (75, None)


def test_the_exit_code_is_the_first_failing_ranks(tmp_path: Path) -> None:
    fails = "sys.exit(farewell(2, 'a.yaml:1: x: unknown key'))"
    assert ended(*(start(tmp_path, rank, fails) for rank in (0, 1))) == [2, 2]

    code, failure = outcome(tmp_path, 1)

    assert code == 2 and failure is not None
    assert failure.message == "a.yaml:1: x: unknown key"


def test_ranks_are_asked_to_stop_by_a_file_and_what_starts_them_sees_no_failure(tmp_path: Path) -> None:
    asked = "asked = []\nsignal.signal(signal.SIGTERM, lambda *_: asked.append(1))"
    body = "print('up', flush=True)\n" + until("asked") + "time.sleep(1.5)\nassert asked == [1]\n"
    body += "sys.exit(farewell(75, 'stopped'))"
    ranks = [start(tmp_path, rank, body, before=asked) for rank in (0, 1)]
    while not all("up" in path.read_text() for path in tmp_path.glob("rank-*.log")):
        time.sleep(0.02)

    (tmp_path / STOP).touch()

    assert ended(*ranks) == [0, 0]
    assert outcome(tmp_path, 0) == (75, None)


def test_a_lone_process_says_75_itself(tmp_path: Path) -> None:
    lone = subprocess.run(
        [sys.executable, "-c", f"{START}{BODY}    sys.exit(farewell(75, 'stopped'))"],
        env={**os.environ, "LOGLINEAR_JOB": str(tmp_path)},
    )

    assert lone.returncode == 75
    assert list(tmp_path.glob("*.log")) == []
    assert outcome(tmp_path, 75) == (75, None)


def test_a_failure_before_a_restart_is_not_the_jobs(tmp_path: Path) -> None:
    assert ended(start(tmp_path, 0, "raise RuntimeError('once')")) == [1]
    again = {"TORCHELASTIC_RESTART_COUNT": "1"}
    assert ended(*(start(tmp_path, rank, "sys.exit(farewell(0))", **again) for rank in (0, 1))) == [0, 0]

    assert outcome(tmp_path, 0) == (0, None)
    assert "once" in (tmp_path / "rank-0.log").read_text()


def test_a_rank_that_waits_for_a_failed_one_ends_after_a_while(tmp_path: Path) -> None:
    waits = start(tmp_path, 0, "time.sleep(60)", before="rank.ALONE_SECONDS = 0.1")
    assert ended(start(tmp_path, 1, "raise RuntimeError('the cause')")) == [1]

    assert ended(waits) == [1]
    assert "after another rank had failed" in json.loads((tmp_path / "rank-0.json").read_text())["message"]


def test_locks_that_a_killed_job_left_are_removed(tmp_path: Path) -> None:
    stale = tmp_path / "extensions" / "py311_cpu" / "adam" / "lock"
    stale.parent.mkdir(parents=True)
    stale.touch()
    os.utime(stale, (0, 0))
    held = stale.parent / "held" / "lock"
    held.parent.mkdir()
    held.touch()
    future = time.time() + 60
    os.utime(held, (future, future))

    extensions = {"TORCH_EXTENSIONS_DIR": str(tmp_path / "extensions")}
    assert ended(start(tmp_path, 0, "sys.exit(farewell(0))", **extensions)) == [0]

    assert not stale.exists()
    assert held.exists()


def test_what_the_last_start_left_is_cleared_but_for_its_logs(tmp_path: Path) -> None:
    ended(start(tmp_path, 0, "raise RuntimeError('the cause')"))
    (tmp_path / STOP).touch()

    clear(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["rank-0.log"]


def test_a_process_that_no_launcher_started_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOGLINEAR_JOB", raising=False)
    with reporting() as farewell:
        assert farewell(75, "stopped") == 75
    with pytest.raises(KeyError), reporting():
        raise KeyError("ours")


def test_what_a_rank_starts_in_turn_is_no_rank(tmp_path: Path) -> None:
    asks = "import os; print(os.environ.get('LOGLINEAR_JOB'))"
    body = f"import subprocess\nsubprocess.run([sys.executable, '-c', {asks!r}])\nsys.exit(farewell(0))"

    assert ended(start(tmp_path, 0, body)) == [0]

    assert (tmp_path / "rank-0.log").read_text().endswith("None\n")
