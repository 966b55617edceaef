import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import StageError
from pipeline.formats import lock
from pipeline.formats.lock import sole_writer

HOLD = "import sys, time; from pathlib import Path; from pipeline.formats.lock import sole_writer\n"
HOLD += "with sole_writer(Path(sys.argv[1]), ''): print('held', flush=True); time.sleep(float(sys.argv[2]))"


def holder(path: Path, seconds: float) -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    child.stdout.close()
    return child


def test_a_second_writer_is_refused_in_the_words_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.2)
    child = holder(tmp_path / "lock", 60)

    with pytest.raises(StageError, match="x: taken"), sole_writer(tmp_path / "lock", "x: taken"):
        pass
    child.kill()
    child.wait()


def test_a_writer_waits_for_one_that_is_about_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 30.0)
    child = holder(tmp_path / "lock", 0.5)

    with sole_writer(tmp_path / "lock", "taken"):
        assert child.wait() == 0


def test_a_killed_writer_holds_nothing(tmp_path: Path) -> None:
    child = holder(tmp_path / "lock", 60)
    child.kill()
    child.wait()

    with sole_writer(tmp_path / "lock", "taken"):
        pass
