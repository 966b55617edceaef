"""What all tests share: the folder of real inputs, where there is one."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.formats import lock

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real inputs: {REAL_DATA} is absent")
    return REAL_DATA


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount a file system of so many kB, which a test can really fill; asked again, make it that large."""
    disk = tmp_path / "small"

    def of_size(kilobytes: int) -> Path:
        size = f"size={kilobytes}k"
        if disk.is_mount():
            subprocess.run(["mount", "-o", f"remount,{size}", str(disk)], check=True)
            return disk
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("cannot mount a small file system here")
        return disk

    yield of_size
    if disk.is_mount():
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # a failed task's log may be open


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a writer that a test holds on purpose."""
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.5)
