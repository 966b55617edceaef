import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import FormatError
from pipeline.formats.publish import (
    blake3_of,
    publishing,
    read_json,
    remove_leftovers,
    sha256_of,
    write_json,
    write_text,
)


def test_nothing_is_seen_before_the_end_and_everything_after(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "x.txt"

    with publishing(target) as draft:
        draft.write_text("whole")
        assert not target.exists()

    assert target.read_text() == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["x.txt"]


def test_a_failed_writer_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    write_text(target, "old")

    with pytest.raises(RuntimeError), publishing(target) as draft:
        draft.write_text("half")
        raise RuntimeError

    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_directory_is_published_whole_and_never_replaced(tmp_path: Path) -> None:
    target = tmp_path / "step-1"
    with publishing(target) as draft:
        (draft / "state").mkdir(parents=True)
        (draft / "state" / "a").write_text("1")

    assert (target / "state" / "a").read_text() == "1"
    with pytest.raises(FileExistsError, match="never replaced"), publishing(target):
        pass


def test_a_killed_writer_is_cleaned_up_after_but_a_live_one_is_not(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from pipeline.formats.publish import publishing\n"
        f"with publishing(Path({str(tmp_path)!r}) / 'x') as draft:\n"
        "    draft.write_text('half'); print('writing', flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    assert remove_leftovers(tmp_path) == []

    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended; nobody has asked how

    assert len(remove_leftovers(tmp_path)) == 1
    assert list(tmp_path.iterdir()) == []
    child.wait()
    child.stdout.close()


def test_leftovers_of_a_writer_whose_start_could_not_be_told_go_once_nobody_has_its_id(
    tmp_path: Path,
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid in (ended.pid, os.getpid()):
        (tmp_path / f".x.partial-{pid}-0-1").touch()

    assert remove_leftovers(tmp_path) == [tmp_path / f".x.partial-{ended.pid}-0-1"]


def test_what_is_published_was_fsynced_before_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def seen_fsync(descriptor: int) -> None:
        calls.append("fsync")
        fsync(descriptor)

    def seen_rename(path: Path, target: Path) -> Path:
        calls.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(Path, "rename", seen_rename)

    write_text(tmp_path / "x", "1")

    assert calls == ["fsync", "rename", "fsync"]


def test_json_faults_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{\n"a": 1,\n"b": }\n')

    with pytest.raises(FormatError, match=r"x\.json:3: not valid JSON"):
        read_json(path)


def test_json_keeps_missing_values_missing(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": float("nan"), "b": tmp_path})

    assert read_json(tmp_path / "x.json") == {"a": None, "b": str(tmp_path)}


def test_hashes_are_the_published_ones_of_the_empty_file(tmp_path: Path) -> None:
    (tmp_path / "x").touch()

    assert sha256_of(tmp_path / "x") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert blake3_of(tmp_path / "x") == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


@pytest.mark.parametrize(
    "failure",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("I/O error: No space (os error 28)")],
)
def test_a_full_disk_names_what_was_to_be_written(tmp_path: Path, failure: Exception) -> None:
    with pytest.raises(OSError, match="No space left") as caught, publishing(tmp_path / "step-1"):
        raise failure

    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "step-1"))
