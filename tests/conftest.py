"""What all tests share: the folder of real inputs, where there is one."""

from pathlib import Path

import pytest

from pipeline.formats import lock

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real inputs: {REAL_DATA} is absent")
    return REAL_DATA


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a writer that a test holds on purpose."""
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.5)
