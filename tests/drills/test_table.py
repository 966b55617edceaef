"""The drills' own table: what is counted and told, and that no trial is held by forgetting to count it."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DRILLS = """
def test_all_hold(drill):
    drill.promise("R2", "kill of one rank")
    for _ in drill.trials(few=2, full=5):
        drill.passed()

def test_same_row(drill):
    drill.promise("R2", "kill of one rank")

def test_one_does_not(drill):
    drill.promise("R11", "NaN")
    for number in drill.trials(few=3):
        assert number < 2
        drill.passed()

def test_forgets_to_count(drill):
    drill.promise("R10", "curve")
    drill.trials(few=2)

def test_draws(drill):
    assert drill.random.random() < 0
"""


def session(folder: Path, *options: str) -> tuple[str, str]:
    """Return what a session of these drills printed, and the table that it wrote."""
    (folder / "test_some.py").write_text(DRILLS)
    table = folder / "build" / "drills.md"
    apart = [
        "-p",
        "tests.drills.conftest",
        "-c",
        "/dev/null",
        "--rootdir",
        str(folder),
        "-p",
        "no:cacheprovider",
    ]
    command = [sys.executable, "-m", "pytest", *apart, str(folder), "--drills-table", str(table), *options]
    plain = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return ended.stdout, table.read_text()


def test_the_table_counts_trials_that_were_made_and_that_held(tmp_path: Path) -> None:
    printed, table = session(tmp_path, "--seed", "17")
    rows = [[cell.strip() for cell in line.split("|")[1:5]] for line in table.splitlines()[2:6]]
    assert rows[0] == ["R2", "kill of one rank", "3", "3"]
    assert rows[1] == ["R10", "curve", "2", "0"]
    assert rows[2] == ["R11", "NaN", "3", "2"]
    assert rows[3][1].endswith("test_draws") and rows[3][2:] == ["1", "0"]
    assert "0 of 2 trials were counted as held" in printed
    assert "2 passed" in printed and "3 failed" in printed
    assert table in printed


def test_the_seed_is_told_and_gives_the_same_moments_again(tmp_path: Path) -> None:
    printed, table = session(tmp_path, "--seed", "17", "--drills", "full")
    assert "drills: full, --seed 17" in printed, "in the header"
    assert "the random moments of this drill: --seed 17" in printed, "with each failure"
    assert "`--seed 17`" in table and "| 6 | 6 |" in table
    again, _ = session(tmp_path, "--seed", "17")
    assert drawn(printed) == drawn(again) != drawn(session(tmp_path)[0])


def drawn(printed: str) -> list[str]:
    """Return the number that the last drill drew, as its failure tells it."""
    return re.findall(r"assert (0\.\d+) < 0", printed)
