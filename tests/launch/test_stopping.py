"""Signals that are held: noted once, an echo forgiven, the next one obeyed; and what children get of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launch import stopping
from launch.outcome import outcome
from launch.stopping import SIGNALS, Held, asked, unheld

HOLDS = """import os, signal, sys, time
from launch.stopping import Held
with Held() as held:
    print("held", flush=True)
    while not held.asked: time.sleep(0.01)
    print(held.asked, flush=True)
    {work}
"""


def within(seconds: float, happens: Callable[[], object]) -> bool:
    until = time.monotonic() + seconds
    while not happens() and time.monotonic() < until:
        time.sleep(0.005)
    return bool(happens())


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_not_obeyed(number: signal.Signals) -> None:
    before = signal.getsignal(number), signal.pthread_sigmask(signal.SIG_BLOCK, [])

    with Held() as held:
        assert held.asked == asked() == ""
        os.kill(os.getpid(), number)
        assert within(5, lambda: held.asked == number.name)
        assert asked() == number.name

    assert asked() == ""
    assert (signal.getsignal(number), signal.pthread_sigmask(signal.SIG_BLOCK, [])) == before


def test_a_context_inside_another_is_the_same_one() -> None:
    with Held() as outer:
        os.kill(os.getpid(), signal.SIGTERM)
        assert within(5, lambda: outer.asked)
        with Held() as inner:
            assert inner is outer
        assert asked() == "SIGTERM"


def test_what_comes_close_behind_a_signal_is_its_echo() -> None:
    with Held() as held:
        for number in SIGNALS:
            os.kill(os.getpid(), number)
        assert within(5, lambda: held.asked)
        time.sleep(0.05)
        assert held.asked in {number.name for number in SIGNALS}


@pytest.mark.parametrize(
    "work",
    ["time.sleep(60)", "import ctypes; ctypes.CDLL(None).sleep(60)"],
    ids=["in Python", "in a call below it"],
)
def test_a_second_signal_ends_the_process_at_once(work: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS.format(work=work)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.readline() == "SIGUSR1\n"
        time.sleep(stopping.ECHO_SECONDS + 0.2)
        process.send_signal(signal.SIGTERM)

        assert process.wait(5) == 128 + signal.SIGTERM


@pytest.mark.parametrize("told", [False, True])
def test_only_children_that_are_to_be_told_get_the_signals_of_their_group(told: bool, tmp_path: Path) -> None:
    start = "subprocess.Popen(['sleep', '60'])"
    start = f"import subprocess\n    with unheld(): child = {start}" if told else f"child = {start}"
    code = f"""import os, signal, subprocess, sys, time
from launch.stopping import Held, unheld
with Held() as held:
    {start}
    os.killpg(0, signal.SIGTERM)
    while not held.asked: time.sleep(0.01)
    time.sleep(0.2)
    print(child.poll())
    child.kill()
    child.wait()
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, start_new_session=True, timeout=60
    )

    assert found.stdout.strip() == (str(-signal.SIGTERM) if told else "None"), found.stderr


def test_signals_let_through_for_a_moment_are_still_noted() -> None:
    with Held() as held:
        with unheld():
            os.kill(os.getpid(), signal.SIGINT)
        assert within(5, lambda: held.asked == "SIGINT")


def test_a_job_asked_to_stop_before_any_of_its_processes_had_begun_has_more_to_do(tmp_path: Path) -> None:
    assert outcome(tmp_path, -signal.SIGTERM, asked=True) == (75, None)
    assert outcome(tmp_path, 1) == (1, None)
