"""Processes that hang, by the others and by themselves; who is the cause, where it is, and who is slow."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from launch.outcome import outcome
from pipeline.trainer.hang import culprits_of
from pipeline.trainer.pace import LOOKS, Pace
from pipeline.trainer.place import COLLECTIVE, is_waiting, place
from pipeline.trainer.steps import _in_turn
from pipeline.trainer.watchdog import LAST_RESORT_SECONDS, SAMPLE_SECONDS, Watchdog, Watcher

COST_SECONDS = 20e-6  # of a step, at most

# What a rank does: meets the other, takes a step, and in the second one what the test says.
RANK = """import ctypes, json, os, sys, threading, time
from pathlib import Path
from launch.rank import reporting
from pipeline.trainer.watchdog import Watchdog, Watcher

folder = Path(sys.argv[1])
def meet(own):
    (folder / f"{own['rank']}.met").write_text(json.dumps(own))
    others = [folder / f"{rank}.met" for rank in range(int(os.environ["WORLD_SIZE"]))]
    while not all(other.exists() and other.read_text() for other in others): time.sleep(0.01)
    return [json.loads(other.read_text()) for other in others]

with reporting(), Watcher(Watchdog(seconds=1.0), folder / "logs") as watcher:
    watcher.meets(meet)
    watcher.at("step", 1)
    watcher.at("record of step", 1)
    watcher.at("step", 2)
    if os.environ["RANK"] == "0": watcher.beat()
    (folder / f"{os.environ['RANK']}.ready").touch()
    WORK
"""


def start(folder: Path, work: str, rank: int = 0, processes: int = 1) -> subprocess.Popen[str]:
    names = {"RANK": str(rank), "WORLD_SIZE": str(processes), "LOGLINEAR_JOB": str(folder / "job")}
    return subprocess.Popen(
        [sys.executable, "-c", RANK.replace("WORK", work), str(folder)],
        env={**os.environ, **names},
        stderr=subprocess.PIPE,
        text=True,
    )


def frame_of(target, *arguments):
    """Return the frame of a thread that runs a function for a moment."""
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    time.sleep(0.1)
    assert thread.ident is not None
    return sys._current_frames()[thread.ident]


def waits_in(file: str):
    """Return a function that waits for an event, as if it stood in a file."""
    names: dict = {}
    exec(compile("def waits(event):\n    event.wait()\n", file, "exec"), names)
    return names["waits"]


def test_a_place_is_the_innermost_line_of_our_own_code():
    event = threading.Event()
    reads = _in_turn(lambda _: event.wait(), 0, 1)

    frame = frame_of(lambda: next(reads))

    assert re.fullmatch(r"pipeline/trainer/steps\.py:\d+ _in_turn", place(frame))
    assert not is_waiting(frame, is_idle=True)
    assert place(None) == "nowhere"
    event.set()


@pytest.mark.parametrize(
    ("file", "idle", "waits"),
    [
        (COLLECTIVE, False, True),
        ("/site-packages/torch/distributed/distributed_c10d.py", False, True),
        ("/site-packages/deepspeed/comm/comm.py", False, True),
        ("/site-packages/torch/autograd/graph.py", True, True),
        ("/site-packages/torch/autograd/graph.py", False, False),
        ("/site-packages/torch/nn/functional.py", True, False),
    ],
)
def test_a_process_waits_for_others_in_a_collective_or_idle_in_a_backward_pass(file, idle, waits):
    event = threading.Event()
    assert is_waiting(frame_of(waits_in(file), event), idle) is waits
    event.set()


def note(rank: int, beats: int, waits: bool) -> dict:
    return {"rank": rank, "beats": beats, "waits": waits}


def test_the_cause_is_who_is_behind_and_of_equals_who_does_not_wait():
    assert culprits_of([note(0, 8, True), note(1, 7, False), note(2, 8, True)]) == [1]
    assert culprits_of([note(0, 8, True), note(1, 8, False), note(2, 8, True)]) == [1]
    assert culprits_of([note(0, 8, True), note(1, 8, True)]) == [0, 1]
    assert culprits_of([note(0, 5, False)]) == [0]


def test_a_slow_process_is_told_once_until_it_is_as_fast_as_the_others(tmp_path: Path):
    busy = int(LOOKS * SAMPLE_SECONDS * 1e6)
    settings = Watchdog(slow_factor=4.0)
    pace = Pace(settings, Watcher(settings, tmp_path))

    assert pace.see(0, [0, 0, 0]) == []
    assert pace.see(5, [busy // 20, busy // 2, busy // 10]) == [], "too few looks"
    (slow,) = pace.see(10, [busy // 10, busy, busy // 10])
    assert (slow.rank, slow.factor, slow.seconds) == (1, 10.0, busy / 1e6 / 10)
    assert pace.see(20, [busy // 5, 2 * busy, busy // 5]) == [], "told already"
    assert pace.see(30, [busy // 5 + busy, 3 * busy, busy // 5 + busy]) == []
    assert [slow.rank for slow in pace.see(40, [busy + busy // 5, 4 * busy, busy + busy // 5])] == [1]


def test_a_process_that_hangs_alone_tells_where_and_ends(tmp_path: Path):
    process = start(tmp_path, "threading.Event().wait(60)")

    process.communicate(timeout=30)

    told = (tmp_path / "job/rank-0.log").read_text()
    assert process.returncode == 1
    assert re.search(r"rank 0 of 1 on \S+ hangs in step 2 at \S+:\d+ wait; nothing got on for [12] s", told)
    assert "File" in told and "in wait" in told


@pytest.mark.parametrize(
    ("work", "disturb", "cause"),
    [
        ("time.sleep(60)", None, "in step 2 at <string>:"),
        ("time.sleep(60)", signal.SIGSTOP, "was stopped by a signal"),
        ("ctypes.PyDLL(None).sleep(60)", None, "is held by a call below Python"),
    ],
    ids=["asleep", "stopped", "below Python"],
)
def test_the_rank_that_hangs_is_named_by_one_that_does_not(tmp_path: Path, work: str, disturb, cause: str):
    waits = f"exec(compile('time.sleep(60)', {COLLECTIVE!r}, 'exec'))"
    ranks = [start(tmp_path, waits, 0, 2), start(tmp_path, work, 1, 2)]
    while not (tmp_path / "1.ready").exists():
        time.sleep(0.01)
    if disturb is not None:
        ranks[1].send_signal(disturb)
    began = time.monotonic()

    for rank in ranks:
        rank.communicate(timeout=30)

    assert time.monotonic() - began < 1.0 + 20.0
    code, failure = outcome(tmp_path / "job", 1)
    assert code == 1 and failure is not None
    assert (failure.rank, failure.world_size) == (1, 2)
    assert failure.message.startswith("rank 1 of 2 on ") and cause in failure.message, failure.message
    assert json.loads((tmp_path / "logs/hang/verdict.json").read_text())
    assert "all threads:" in (tmp_path / "job/rank-0.log").read_text()


def test_a_process_whose_interpreter_is_held_right_after_a_long_part_ends_in_the_time_of_a_short_one(
    tmp_path: Path,
):
    # The watching thread looks while the long part lasts, and has no turn from the short one on.
    work = "watcher.at('part'); time.sleep(1); watcher.at('step', 3)"
    process = start(tmp_path, f"{work}; ctypes.PyDLL(None).sleep(60)")
    while not (tmp_path / "0.ready").exists():
        time.sleep(0.01)
    began = time.monotonic()

    process.communicate(timeout=30)

    assert process.returncode == 1
    assert time.monotonic() - began < 1.0 + 1.0 + LAST_RESORT_SECONDS + 20.0
    assert "Timeout" in (tmp_path / "job/rank-0.log").read_text()


def test_a_rank_that_never_came_is_named(tmp_path: Path):
    begins = 'folder / "logs") as watcher:'
    code = RANK.replace(
        begins, f"{begins}\n    watcher.at('part'); watcher.at('part')"
    )  # short at the second
    alone = subprocess.Popen(
        [sys.executable, "-c", code.replace("WORK", "pass"), str(tmp_path)],
        env={**os.environ, "RANK": "0", "WORLD_SIZE": "2", "LOGLINEAR_JOB": str(tmp_path / "job")},
    )

    assert alone.wait(30) == 1
    _, failure = outcome(tmp_path / "job", 1)
    assert failure is not None and failure.rank == 1
    assert failure.message.startswith("rank 1 of 2 hangs: it never met the others")


def test_a_process_that_was_paused_goes_on(tmp_path: Path):
    process = start(tmp_path, "exec('for _ in range(20): watcher.beat(); time.sleep(0.1)'); os._exit(0)")
    while not (tmp_path / "0.ready").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTSTP)
    time.sleep(1.0 + LAST_RESORT_SECONDS + 1.0)
    process.send_signal(signal.SIGCONT)

    process.communicate(timeout=30)

    assert process.returncode == 0


def test_a_process_without_a_set_time_is_left_in_peace(tmp_path: Path):
    with Watcher(Watchdog(seconds=None), tmp_path) as watcher:
        assert watcher.group_seconds is None
        watcher.at("step", 1)
        time.sleep(1.2)
    assert list(tmp_path.iterdir()) == []


def test_the_others_are_given_up_later_than_the_watchdog_speaks(tmp_path: Path):
    with Watcher(Watchdog(seconds=600.0), tmp_path) as watcher:
        assert watcher.group_seconds == 3 * 600 + 60


def test_a_step_is_watched_at_next_to_no_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with Watcher(Watchdog(), tmp_path) as watcher:
        took = []
        for step in range(2000):
            begun = time.perf_counter()
            watcher.at("step", step)
            watcher.beat()
            watcher.at("record of step", step)
            watcher.at("samples after step", step)
            watcher.at("checkpoint at step", step)
            took.append(time.perf_counter() - begun)

    assert sorted(took)[len(took) // 2] < COST_SECONDS
