"""A save broken off at every system call: the checkpoint before is never lost, nothing torn is read.

R1: SIGKILL before, or an error from, the N-th mkdir, open, write, fsync, rename, unlink of starting a run's
writer, saving, pruning and ending, for every N; in the threads that write and in the one that publishes.
"""

from __future__ import annotations

import multiprocessing
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from pipeline.formats.checkpoint import META, newest_whole, step_of, verify, writing
from pipeline.formats.run import Run
from pipeline.formats.run import writing as writing_run
from tests.drills import saving, syscalls
from tests.drills.conftest import Drill
from tests.drills.saving import FIRST, LAST, PUBLISHING, READY, REFUSED, THREAD, TOLD, TRACED, WRITERS

FAULTS = {"killed": "signal=SIGKILL:when={}", "EIO": "error=EIO:when={}", "ENOSPC": "error=ENOSPC:when={}+"}
END_SECONDS = 120.0


@dataclass(frozen=True)
class Place:
    """Whose calls are meant: a rank of so many, and there the thread that publishes, or one that writes."""

    part: str = PUBLISHING
    rank: int = 0
    world_size: int = 1


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServerContext]:
    """Something that starts processes which have torch loaded."""
    syscalls.wanted()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([saving.__name__])
    yield context


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as an earlier process left it, with one checkpoint, and with what a killed one left behind."""
    folder = tmp_path_factory.mktemp("crash") / "before"
    with writing_run(folder) as writer:
        writer.begin_attempt({"first_step": 1})
        writer.append({"step": FIRST - 1, "loss": 1.0})
        with writer.publishing_checkpoint(saving.meta_of(FIRST - 1, writer.epoch)) as draft:
            (draft / "model").mkdir()
            (draft / "model" / "weights").write_bytes(bytes(5000))
    left = folder / "checkpoints" / f".step-{FIRST:08d}.partial-999999-1-0" / "state"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"half")
    return folder


@dataclass(frozen=True)
class Ended:
    """How the processes ended: the exit codes by rank, the newest step that was said to be saved."""

    codes: list[int | None]
    told: int


def _save(server: ForkServerContext, folder: Path, place: Place, log: Path, *options: str) -> Ended:
    """Save in new processes, one of them traced."""
    port = _free_port() if place.world_size > 1 else 0
    started: list[tuple[BaseProcess, saving.Words]] = []
    for rank in range(place.world_size):
        words = saving.shared_words()
        mine = rank == place.rank
        words[TRACED] = not mine
        arguments = (folder, (rank, place.world_size, port), words, place.part if mine else "")
        started.append((server.Process(target=saving.save, args=arguments), words))
        started[-1][0].start()
    victim, words = started[place.rank]
    number = READY if place.part == PUBLISHING else THREAD
    try:
        saving.until(lambda: words[number] or not victim.is_alive())
        tracer = syscalls.trace(words[number], log, *options)
        words[TRACED] = 1
        for process, _ in started:
            process.join(END_SECONDS)
        tracer.wait(END_SECONDS)
        return Ended([process.exitcode for process, _ in started], started[0][1][TOLD])
    finally:
        for process, _ in started:
            process.kill()
            process.join()
            process.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _copy(before: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(before, folder))


def _points(server: ForkServerContext, before: Path, tmp_path: Path, place: Place) -> list[tuple[str, int]]:
    """Return every call that a save makes which nobody disturbs: its name, and the how many-th it is."""
    log = tmp_path / "calls"
    seen = ",".join(syscalls.CHANGES)
    ended = _save(server, _copy(before, tmp_path / "run"), place, log, "-e", f"trace={seen}")
    assert ended == Ended([0] * place.world_size, LAST)
    return [(name, n) for name, count in syscalls.counted(log).items() for n in range(1, count + 1)]


def _assert_whole(folder: Path, ended: Ended) -> None:
    """Assert that what was said to be saved is, and that nothing half-written passes for a checkpoint."""
    found = newest_whole(folder / "checkpoints")
    assert found is not None, "the checkpoint before was lost"
    assert found[1].step >= max(ended.told, FIRST - 1), (ended, found[0])
    for checkpoint in Run(folder).checkpoints():
        assert verify(checkpoint).step == step_of(checkpoint)


def _assert_goes_on(folder: Path) -> None:
    """Assert that the next process begins from there, cleans up and can save."""
    with writing_run(folder) as writer:
        found = writer.newest_whole()
        assert found is not None
        left = [path.name for path in folder.rglob(".*")]
        assert left == [], left
        writer.rewind(found[1].step)
        assert all(row["step"] <= found[1].step for row in writer.rows())
        meta = saving.meta_of(LAST + 1, writer.epoch)
        with writing(writer.checkpoint_folder, meta, writer.check_epoch) as draft:
            (draft / "file").write_text("x")
        writer.retain(1)
    assert [step_of(path) for path in Run(folder).checkpoints()] == [LAST + 1]
    assert (Run(folder).checkpoints()[0] / META).is_file()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("part", [PUBLISHING, *WRITERS])
def test_a_save_broken_off_at_any_call_costs_nothing_saved_before(
    drill: Drill, fault: str, part: str, server, before, tmp_path
):
    drill.promise("R1", "every system call of start, save, prune and end: killed, EIO, disk full")
    place = Place(part)
    points = _points(server, before, tmp_path, place)
    _drill(drill, server, before, tmp_path, place, points, fault, few=2, full=len(points))


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("part", "rank"), [(PUBLISHING, 0), *((part, rank) for part in WRITERS for rank in (0, 1))]
)
def test_a_rank_of_two_that_is_broken_off_at_any_call_costs_nothing_saved_before(
    drill: Drill, fault: str, part: str, rank: int, server, before, tmp_path
):
    drill.promise("R1", "a system call of one of two ranks: killed, EIO, disk full")
    place = Place(part, rank, world_size=2)
    points = _points(server, before, tmp_path, place)
    _drill(drill, server, before, tmp_path, place, points, fault, few=1, full=min(8, len(points)))


def _drill(
    drill: Drill,
    server: ForkServerContext,
    before: Path,
    tmp_path: Path,
    place: Place,
    points: list[tuple[str, int]],
    fault: str,
    few: int,
    full: int,
) -> None:
    """Break a save off at each of the points, or at a few that are drawn."""
    wanted = drill.trials(few=few, full=full)
    for name, n in sorted(drill.random.sample(points, min(len(wanted), len(points)))):
        folder = _copy(before, tmp_path / "run")
        options = ("-e", f"trace={name}", "-e", f"inject={name}:{FAULTS[fault].format(n)}")
        ended = _save(server, folder, place, tmp_path / "calls", *options)
        where = f"{fault} at {name} number {n} of {place}: {ended}"
        assert all(code in (0, REFUSED, 1, -9) for code in ended.codes), where
        assert 0 not in ended.codes or ended.told == LAST, where
        _assert_whole(folder, ended)
        _assert_goes_on(folder)
        drill.passed()
