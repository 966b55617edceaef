"""What the drills share: a seed that is told, the number of trials, and the table of what held.

pytest tests/drills --drills=full --drills-table build/drills.md   all promises at their full number of trials
pytest tests/drills/test_kill.py --seed 1234                        the random moments of an earlier run
"""

from __future__ import annotations

import fcntl
import random
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.drills.commands import make_dataset, make_run
from tests.drills.started import end_all
from tests.pipeline.train.conftest import dataset, values  # noqa: F401 - a small dataset and a run on it

# Drills of jobs take minutes on a quiet machine, and several times that where others keep it busy.
FEW_TIMEOUT_SECONDS, FULL_TIMEOUT_SECONDS = 1200, 7200
_DRILL = pytest.StashKey["Drill"]()
_TABLE = pytest.StashKey["Table"]()
_SEED = pytest.StashKey[int]()


class Drill:
    """One drill: its random numbers, its trials, and the row of the table that it fills."""

    def __init__(self, name: str, seed: int, is_full: bool):
        self.random = random.Random(f"{seed} {name}")
        self._is_full = is_full
        self._promise, self._words = "", name
        self._planned: int | None = None
        self._held = 0

    def promise(self, promises: str, words: str) -> None:
        """Name the row of the table: ids of promises, and what is done to the system."""
        self._promise, self._words = promises, words

    def trials(self, few: int = 1, full: int = 20) -> range:
        """Return the numbers of the trials to make; a drill that never asks is one trial."""
        found = range(full if self._is_full else few)
        self._planned = (self._planned or 0) + len(found)
        return found

    def passed(self, n: int = 1) -> None:
        """Count trials that held. One that does not hold fails the test."""
        self._held += n

    def row(self, has_passed: bool) -> Row:
        """Return what this drill found; without planned trials the test as a whole is one."""
        if self._planned is None:
            held = self._held or int(has_passed)
            return Row(self._promise, self._words, max(held, 1), held)
        return Row(self._promise, self._words, self._planned, self._held)


@dataclass
class Row:
    """One line of the table."""

    promise: str
    words: str
    trials: int = 0
    held: int = 0
    seconds: float = 0.0


class Table:
    """The rows of a session, gathered from the reports of its tests, whichever process ran them."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}
        self._seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        seconds = self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
        found = dict(report.user_properties).get("drill")
        if found is None or report.when != "call":
            return
        row = self._rows.setdefault((found["promise"], found["words"]), Row(found["promise"], found["words"]))
        row.trials += found["trials"]
        row.held += found["held"]
        row.seconds += seconds

    def markdown(self, seed: int) -> str:
        lines = ["| promise | drill | trials | held | seconds |", "|---|---|---:|---:|---:|"]
        for row in sorted(self._rows.values(), key=lambda row: _by_number(row.promise)):
            lines.append(f"| {row.promise} | {row.words} | {row.trials} | {row.held} | {row.seconds:.0f} |")
        return "\n".join([*lines, "", f"Random moments from `--seed {seed}`.", ""])


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("drills")
    group.addoption("--drills", choices=("few", "full"), default="few", help="how many trials of each drill")
    group.addoption("--seed", type=int, help="of the random moments; drawn and told if not given")
    group.addoption("--drills-table", type=Path, metavar="FILE", help="write what held as Markdown")


def pytest_configure(config: pytest.Config) -> None:
    # Where these files are found only while collecting, the command line is read already: defaults hold.
    seed = config.getoption("seed", None)
    if seed is None:
        seed = config.option.seed = random.SystemRandom().randrange(10**6)  # workers are given the options
    config.stash[_SEED] = seed
    config.stash[_TABLE] = Table()
    config.pluginmanager.register(config.stash[_TABLE], "drills-table")


def pytest_report_header(config: pytest.Config) -> str:
    return f"drills: {config.getoption('drills', 'few')}, --seed {config.stash[_SEED]}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _is_full(config):
        items.sort(key=_is_timed)  # last: they have the machine for themselves
    for item in items:
        if "drill" not in getattr(item, "fixturenames", ()):
            continue
        if _is_full(config):
            item.add_marker(pytest.mark.timeout(FULL_TIMEOUT_SECONDS), append=False)
        elif item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(FEW_TIMEOUT_SECONDS))


def _is_full(config: pytest.Config) -> bool:
    return config.getoption("drills", "few") == "full"


def _is_timed(item: pytest.Item) -> bool:
    return item.get_closest_marker("timed") is not None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let a drill that is held to seconds wait until the other worker's is over, and that one for its end."""
    if not _is_full(item.config):
        return (yield)
    with Path(__file__).open() as machine:
        fcntl.flock(machine, fcntl.LOCK_EX if _is_timed(item) else fcntl.LOCK_SH)
        try:
            return (yield)
        finally:
            fcntl.flock(machine, fcntl.LOCK_UN)  # closing is not enough where a forked child has the file too


@pytest.fixture
def drill(request: pytest.FixtureRequest) -> Drill:
    config = request.config
    seed = config.stash[_SEED]
    made = Drill(request.node.nodeid, seed, _is_full(config))
    request.node.stash[_DRILL] = made
    request.node.add_report_section("setup", "drill", f"the random moments of this drill: --seed {seed}")
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    made = item.stash.get(_DRILL, None)
    if made is not None and report.when == "call" and not report.skipped:
        row = made.row(report.passed)
        if report.passed and row.held != row.trials:
            report.outcome = "failed"
            report.longrepr = f"{row.held} of {row.trials} trials were counted as held"
        report.user_properties.append(("drill", asdict(row)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    file = config.getoption("drills_table", None)
    if file is None or hasattr(config, "workerinput"):
        return
    table = config.stash[_TABLE].markdown(config.stash[_SEED])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(table)
    terminalreporter.section("drills")
    terminalreporter.write_line(table)


def _by_number(promises: str) -> tuple[int, str]:
    digits = "".join(c if c.isdigit() else " " for c in promises).split()
    return (int(digits[0]) if digits else 10**6, promises)


@pytest.fixture(autouse=True)
def _nobody_is_left_behind() -> Iterator[None]:
    """A drill that fails has no end for what it started; what goes on would disturb the drills after it."""
    yield
    end_all()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, and a finished run on it; tests take copies."""
    folder = tmp_path_factory.mktemp("made")
    make_dataset(folder / "data")
    make_run(folder / "data", folder / "run")
    return folder


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A folder that would be made where something is opened carelessly."""
    return tmp_path / "canary"
