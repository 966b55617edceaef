"""What drills have started, known by a mark in its environment: one that fails leaves nobody behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

MARK = "LOGLINEAR_DRILLS"
_OURS = uuid.uuid4().hex
_started: list[subprocess.Popen[Any]] = []


def start(words: Sequence[str], env: Mapping[str, str] = os.environ, **options: Any) -> subprocess.Popen[Any]:
    """Start a command; all that it starts in turn carries the mark too."""
    command = subprocess.Popen(words, env={**env, MARK: _OURS}, **options)
    _started.append(command)
    return command


def end_all() -> None:
    """Kill what is left of all that was started, whoever is its parent by now, and wait for the commands."""
    while _started and (left := _left()):
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.01)
    while _started:
        command = _started.pop()
        command.wait()
        for pipe in (command.stdout, command.stderr):
            if pipe is not None:
                pipe.close()


def _left() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == _OURS:
                found.append(process)
    return found
