import logging
import sys
import time
from types import SimpleNamespace

import pytest

from pipeline import log


def test_lines_name_time_stage_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure()
    logging.getLogger("loglinear.data").warning("page %d is empty", 3)

    assert capsys.readouterr().err.endswith(" data       warning: page 3 is empty\n")


def test_progress_without_a_terminal_is_plain_lines_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "PLAIN_SECONDS", 0.0)
    log.configure()

    with log.progress("fetch", total=4, unit="pages") as shown:
        shown.advance()
        shown.note("2 failed")

    captured = capsys.readouterr()
    assert "fetch: 1/4 pages in 0 s" in captured.err
    assert "2 failed" in captured.err
    assert captured.out == ""


def test_what_was_done_before_says_nothing_of_the_time_that_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "PLAIN_SECONDS", 0.0)
    now = [0.0]
    monkeypatch.setattr(log, "time", SimpleNamespace(**{**vars(time), "monotonic": lambda: now[0]}))
    log.configure()

    with log.progress("train", total=100, done=90) as shown:
        shown.advance(0)
        now[0] = 20.0
        shown.advance(1)
        shown.note("the largest is running", left=1234.0)

    none, counted, known, *_ = capsys.readouterr().err.splitlines()
    assert none.endswith("train: 90/100 in 0 s")
    assert counted.endswith("train: 91/100 in 20 s, 180 s left")
    assert known.endswith(" 1234 s left  the largest is running")


def test_progress_on_a_terminal_is_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    with log.progress("fetch", total=4, unit="pages") as shown:
        shown.advance(2)
        shown.note("the largest is running", left=3725.4)

    drawn = capsys.readouterr().err
    for part in ("fetch", "2/4 pages", "1:02:05", "the largest is running"):
        assert part in drawn
