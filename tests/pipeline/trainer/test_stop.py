"""Being asked to stop: by a signal that was held since the process began, or by a file."""

from __future__ import annotations

import os
import signal
import time

import pytest

from launch.stopping import Held
from pipeline.trainer.stop import STOP_FILE, Stop


def wait_for_reason(stop: Stop) -> str:
    until = time.monotonic() + 5
    while not stop.requested() and time.monotonic() < until:
        time.sleep(0.005)
    return stop.agreed()


def test_a_signal_that_came_before_there_was_anything_to_stop_counts():
    with Held() as held:
        os.kill(os.getpid(), signal.SIGUSR1)
        while not held.asked:
            time.sleep(0.005)
        with Stop(lambda _: False) as stop:
            assert stop.agreed() == "SIGUSR1"


def test_a_signal_asks_where_nothing_was_held_before():
    with Stop(lambda _: False) as stop:
        assert stop.agreed() == ""
        os.kill(os.getpid(), signal.SIGTERM)
        assert wait_for_reason(stop) == "SIGTERM"


def test_the_file_is_asked_for_what_came_since_the_process_began(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipeline.trainer.stop.FILE_POLL_SECONDS", 0.0)
    asked_at = [0.0]
    with Held() as held, Stop(lambda since: asked_at[0] >= since) as stop:
        assert stop.requested() == ""
        asked_at[0] = held.since
        assert stop.agreed() == STOP_FILE


def test_the_file_is_looked_at_once_a_second_and_no_more():
    looks: list[float] = []
    with Stop(lambda since: bool(looks.append(since))) as stop:
        for _ in range(1000):
            stop.requested()

    assert len(looks) == 1
