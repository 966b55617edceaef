"""A disk that is full while something is written: said in words, what was there is whole, and once there
is room the same command goes on. The disks are small file systems in memory, which can really be filled.

A run needs no log on that disk to train: only what it is resumed from and reported by lies there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.config import validate
from pipeline.errors import StageError
from pipeline.formats.checkpoint import newest_whole, verify
from pipeline.formats.manifest import Manifest
from pipeline.formats.run import Run
from pipeline.formats.shards import ShardWriter, TokenShard
from pipeline.train import loop, stage
from pipeline.train.stage import Config
from tests.drills.conftest import Drill
from tests.pipeline.data.test_stage import build, hashes, prepared

ROOT = Path(__file__).parents[2]
KB = 1024
NO_ROOM = re.compile(r"No space left on device|no space left on the disk")
SmallDisk = Callable[[int], Path]


@contextmanager
def filled(folder: Path, leave_bytes: int = 0) -> Iterator[None]:
    """Fill the disk of a folder but for some bytes, and make room again at the end."""
    ballast = folder / "ballast"
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free - leave_bytes, 1))
    try:
        yield
    finally:
        ballast.unlink()


def _start(values: dict) -> Run:
    config = validate(Config, values, "drill")
    stage.run(config, stage.plan(config))
    return Run(config.out)


def _curve(run: Run) -> list[tuple]:
    return [(row["step"], row["loss"], row["grad_norm"]) for row in run.rows() if "lr" in row]


def _leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob(".*"))


@pytest.mark.parametrize("share", [1.2, 1.0, 0.5])
def test_a_checkpoint_without_room_leaves_the_one_before_and_goes_on_once_there_is(
    drill: Drill, share: float, values, small_disk: SmallDisk, tmp_path
):
    drill.promise("R6", "disk full while a checkpoint is written: room for 1.2, 1.0, 0.5 of one")
    whole = _start({**values, "out": str(tmp_path / "whole")})
    size = sum(path.stat().st_size for path in whole.checkpoints()[-1].rglob("*") if path.is_file())
    disk = small_disk(20 * size // KB)
    run = {**values, "out": str(disk / "run"), "checkpoint": {"every_steps": 2, "keep": 9}}
    for _ in drill.trials(few=1, full=6):
        shutil.rmtree(disk / "run", ignore_errors=True)
        room = drill.random.uniform(share - 0.1, share + 0.1)
        with (
            _from_step(2, lambda room=room: filled(disk, int(room * size))),
            pytest.raises(StageError) as full,
        ):
            _start(run)
        assert NO_ROOM.search(str(full.value)) and "the same command goes on" in str(full.value)
        found = newest_whole(disk / "run" / "checkpoints")
        assert found is not None and found[1].step in (2, 4)
        assert not _leftovers(disk / "run" / "checkpoints")

        again = _start(run)

        assert again.finished and _curve(again) == _curve(whole)
        for one, other in zip(again.checkpoints(), whole.checkpoints(), strict=True):
            assert verify(one).blake3 == verify(other).blake3
        drill.passed()


@contextmanager
def _from_step(step: int, full: Callable[[], object]) -> Iterator[None]:
    """Make the disk full once the checkpoint of a step is published, until the end of the context."""
    land = loop.Saver._land
    entered: list = []

    def landed(self, flight) -> None:
        land(self, flight)
        if flight.meta.step == step:
            entered.append(full())
            entered[-1].__enter__()

    loop.Saver._land = landed  # type: ignore[method-assign]
    try:
        yield
    finally:
        loop.Saver._land = land  # type: ignore[method-assign]
        for context in entered:
            context.__exit__(None, None, None)


def test_a_row_without_room_ends_the_run_and_loses_nothing_saved(
    drill: Drill, values, small_disk: SmallDisk, tmp_path
):
    drill.promise("R6", "disk full while metrics.jsonl is written")
    long = {**values, "train_tokens": 80 * 64, "checkpoint": {"every_steps": 30}}
    long = {**long, "validation": {"every_steps": 0, "tokens": 64}}
    whole = _start({**long, "out": str(tmp_path / "whole")})
    disk = small_disk(1000)
    for _ in drill.trials(few=1, full=3):
        shutil.rmtree(disk / "run", ignore_errors=True)
        run = {**long, "out": str(disk / "run")}
        with _from_step(30, lambda: filled(disk)), pytest.raises(StageError) as full:
            _start(run)
        assert "metrics.jsonl: a row could not be written" in str(full.value)
        assert NO_ROOM.search(str(full.value)) and "the same command goes on" in str(full.value)
        assert [verify(path).step for path in Run(disk / "run").checkpoints()] == [30]

        again = _start(run)

        assert again.finished and _curve(again) == _curve(whole)
        drill.passed()


def test_logs_without_room_stop_nothing(drill: Drill, values, tmp_path):
    drill.promise("R6", "disk full under the logs: training goes on")
    for number in drill.trials(few=1, full=3):
        run = {**values, "out": str(tmp_path / f"run-{number}")}
        (tmp_path / "train.yaml").write_text(yaml.safe_dump(run))
        with Path("/dev/full").open("wb", buffering=0) as full:
            ended = subprocess.run(
                [sys.executable, "-m", "pipeline", "train", str(tmp_path / "train.yaml")],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=full,
                stderr=full,
                check=False,
            )
        assert ended.returncode == 0
        assert Run(Path(run["out"])).finished
        drill.passed()


def test_a_shard_without_room_is_not_there_and_those_before_it_are(drill: Drill, small_disk: SmallDisk):
    drill.promise("R6", "disk full while a token shard is written")
    disk = small_disk(256)
    for number in drill.trials(few=3, full=40):
        shutil.rmtree(disk / "shards", ignore_errors=True)
        ids = np.arange(20_000, dtype=np.uint16)
        before = ShardWriter(disk / "shards" / "train-00000.ds", "uint16")
        before.write(ids)
        first = before.close()
        writer = ShardWriter(disk / "shards" / "train-00001.ds", "uint16")
        with filled(disk, drill.random.randrange(1, 38_000)), pytest.raises(OSError, match="No space left"):
            try:
                for start in range(0, len(ids), 1000):
                    writer.write(ids[start : start + 1000])
                writer.close()
            except OSError:
                writer.discard()
                raise
        assert sorted(path.name for path in (disk / "shards").iterdir()) == [
            "train-00000.ds",
            "train-00000.ds.index",
        ], number
        assert TokenShard(disk / first.name, "uint16").tokens.tolist() == ids.tolist()
        again = ShardWriter(disk / "shards" / "train-00001.ds", "uint16")
        again.write(ids)
        assert again.close().sha256 == first.sha256
        drill.passed()


@pytest.mark.slow
def test_a_dataset_built_on_a_full_disk_is_refused_and_goes_on_once_there_is_room(
    drill: Drill, small_disk: SmallDisk, tmp_path
):
    drill.promise("R6", "disk full while a dataset is built")
    path = prepared(tmp_path / "clean" / "d")
    build(path)
    expected = hashes(tmp_path / "clean" / "d")
    pages = sum(each.stat().st_size for each in (tmp_path / "clean" / "d" / "pages").iterdir())
    total = sum(each.stat().st_size for each in (tmp_path / "clean" / "d").rglob("*") if each.is_file())
    for _ in drill.trials(few=1, full=6):
        disk = small_disk(8 * total // KB)
        shutil.rmtree(disk / "d", ignore_errors=True)
        path = prepared(disk / "d")
        with filled(disk, int(drill.random.uniform(0.1, 0.5) * (total - pages))):
            with pytest.raises((StageError, OSError)) as full:
                build(path)
            assert NO_ROOM.search(str(full.value)), full.value
            assert not (disk / "d" / "manifest.json").exists()

        build(path)

        assert hashes(disk / "d") == expected
        assert Manifest.read(disk / "d").phases
        assert not [left for left in _leftovers(disk / "d") if "partial" in left.name]
        drill.passed()
