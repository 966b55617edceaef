"""What a killed study leaves behind."""

import subprocess
import sys
import time

import pytest

from pipeline.errors import StageError
from pipeline.formats.run import Run
from pipeline.study import jobs

WRITER = """
import sys, time
from pathlib import Path
from pipeline.formats.run import writing
with writing(Path(sys.argv[1])) as run:
    run.write_config("{}")
    while not run.stop_requested():
        time.sleep(0.05)
"""


def test_a_job_s_threads_reach_an_engine_that_counts_them():
    assert jobs.with_threads({"engine": {"kind": "single", "threads": 1}}, 2)["engine"]["threads"] == 2
    assert jobs.with_threads({"seed": 1}, 2) == {"seed": 1}


def test_a_training_left_by_a_killed_study_is_asked_to_save_and_end(tmp_path):
    run = Run(tmp_path / "run")
    orphan = subprocess.Popen([sys.executable, "-c", WRITER, str(run.directory)])
    while not run.config.is_file():
        time.sleep(0.05)

    jobs.end_orphan(run)

    assert orphan.wait(10) == 0
    assert not run.stop_requested()


def test_a_writer_that_does_not_end_is_named(tmp_path, monkeypatch):
    from filelock import FileLock

    monkeypatch.setattr(jobs, "ORPHAN_SECONDS", 0.5)
    run = Run(tmp_path)
    with FileLock(tmp_path / "writer.lock"), pytest.raises(StageError, match="another process still writes"):
        jobs.end_orphan(run)


def test_a_run_that_was_never_begun_needs_no_waiting(tmp_path):
    jobs.end_orphan(Run(tmp_path / "none"))
