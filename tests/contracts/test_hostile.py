"""What `docs/hostile-inputs.md` says is tested, is."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests" / "pipeline" / "data"


def test_every_test_that_the_table_names_exists() -> None:
    named = re.findall(r"`([\w./]+\.py)::(\w+)`", (ROOT / "docs" / "hostile-inputs.md").read_text())

    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (TESTS / file).is_file() or f"def {test}(" not in (TESTS / file).read_text()
    ]

    assert len(named) > 50
    assert not missing, missing
