"""What all tests share: the folder of real inputs, where there is one."""

from pathlib import Path

import pytest

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real inputs: {REAL_DATA} is absent")
    return REAL_DATA
