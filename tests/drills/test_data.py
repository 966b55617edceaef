"""A dataset's build that is killed, asked for something else, fed with rubbish, spread over workers.

R12: it ends byte for byte as one that nobody disturbed, and what changed is refused or made anew, never left
out. R13: every document is accounted for. R14: neither workers nor their order can be seen. What each phase
does about its own faults is in `tests/pipeline/data`; here is the whole road, at random moments.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import psutil
import pytest

from pipeline.data import read
from pipeline.data.documents import document_files, read_documents
from pipeline.errors import ConfigError
from pipeline.formats.manifest import Manifest
from tests.drills.conftest import Drill
from tests.drills.started import start
from tests.pipeline.data import test_sources
from tests.pipeline.data.conftest import (
    phase,  # noqa: F401 - a fixture
)
from tests.pipeline.data.test_read import LENIENT, PACKERS, documents, write
from tests.pipeline.data.test_sources import warc  # noqa: F401 - pages in a file
from tests.pipeline.data.test_stage import build, hashes, prepared

ROOT = Path(__file__).parents[2]
PUBLISHED = ("shards/*", "tokenizer*.json", "vocab.json", "merges.txt")
KINDS = ("whole", "broken", "no text", "no object", "not UTF-8", "blank", "duplicate")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset that nobody disturbed."""
    out = tmp_path_factory.mktemp("clean") / "d"
    build(prepared(out, files=3))
    return out


def _published(out: Path) -> dict[str, bytes]:
    """Return what a build leaves to others, but for the manifest."""
    paths = {path for pattern in PUBLISHED for path in out.glob(pattern) if path.is_file()}
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def _documents(out: Path) -> dict[str, list[tuple[str, str]]]:
    """Return the documents of every phase, kept and dropped; their metadata name the folder they are in."""
    files = [path for folder in ("documents", "kept", "dropped") for path in document_files(out / folder)]
    return {
        path.relative_to(out).as_posix(): [(each.id, each.text) for each in read_documents(path)]
        for path in files
    }


def _accounts(out: Path) -> list[dict]:
    """Return the manifest's account of each phase, but for the time it took."""
    return [{**row, "seconds": 0} for row in Manifest.read(out).phases]


def _assert_same(out: Path, clean: Path) -> None:
    assert hashes(out) == hashes(clean)
    assert _published(out) == _published(clean)
    assert _documents(out) == _documents(clean)
    assert _accounts(out) == _accounts(clean)
    for row in _accounts(out):
        assert row["documents_in"] == row["documents_out"] + sum(row["dropped"].values())


def _start(path: Path, workers: int) -> subprocess.Popen[bytes]:
    return start(
        [sys.executable, "-m", "pipeline", "data", str(path), f"execute.workers={workers}"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _kill_all(command: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(command.pid, signal.SIGKILL)


def _kill_command(command: subprocess.Popen[bytes]) -> None:
    command.kill()


def _kill_worker(command: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(psutil.Error):
        if workers := psutil.Process(command.pid).children(recursive=True):
            workers[-1].kill()


@pytest.mark.slow
@pytest.mark.parametrize("kill", [_kill_all, _kill_command, _kill_worker], ids=["all", "command", "worker"])
def test_a_build_killed_at_random_moments_ends_byte_for_byte_as_a_clean_one(
    drill: Drill, kill: Callable, clean: Path, tmp_path: Path
):
    drill.promise("R12", "kill -9 of a build, of its command, of a worker, at random moments")
    seconds = 3 + sum(row["seconds"] for row in Manifest.read(clean).phases)
    kills = drill.trials(few=1, full=17)
    builds = done = 0
    while done < len(kills):
        builds += 1
        path = prepared(tmp_path / f"{builds}" / "d", files=3)
        # A worker that dies is tried again, once; after that the command says so and ends.
        for attempt in range(6):
            command = _start(path, workers=drill.random.choice([1, 2, 3]))
            if done < len(kills) and attempt < 5:
                time.sleep(drill.random.uniform(0, seconds))
                if command.poll() is None:
                    kill(command)
                    done += 1
            if command.wait() == 0:
                break
        assert command.returncode == 0
        _assert_same(tmp_path / f"{builds}" / "d", clean)
    drill.passed(done)


@pytest.mark.slow
def test_what_was_changed_between_two_starts_is_refused_or_made_anew(
    drill: Drill, clean: Path, tmp_path: Path
):
    drill.promise("R12", "configuration, inputs or number of tasks changed between two starts")
    out = tmp_path / "d"
    path = prepared(out, files=3)
    build(path, until="filter")
    for changed in ("dedup.paragraphs.min_words_left=21", "splits.test=0.2", "tokenizer.vocab_size=301"):
        drill.trials(few=1, full=1)
        with pytest.raises(ConfigError, match=r"holds a dataset of another configuration"):
            build(path, changed)
        drill.passed()
    # The tasks of a phase follow from its inputs: with other files before it there are others, all made.
    drill.trials(few=1, full=1)
    (out / ".phases" / "extract.json").unlink()
    build(path, "execute.workers=2")
    _assert_same(out, clean)
    drill.passed()


@pytest.mark.slow
@pytest.mark.parametrize(
    "proof",
    [
        test_sources.test_a_new_input_file_makes_the_phase_that_reads_it_undone,
        test_sources.test_an_input_that_is_gone_changes_nothing,
    ],
    ids=["new", "gone"],
)
def test_a_changed_list_of_inputs_is_noticed(drill: Drill, proof: Callable, warc: Path, tmp_path: Path):  # noqa: F811
    drill.promise("R12", "configuration, inputs or number of tasks changed between two starts")
    drill.trials(few=1, full=1)
    proof(warc, tmp_path)
    drill.passed()


def test_every_line_is_accounted_for_whatever_it_holds(drill: Drill, phase, tmp_path: Path):  # noqa: F811
    drill.promise("R13", "lines whole, broken, without text, not UTF-8, blank; packed, cut off, in slices")
    for _ in drill.trials(few=5, full=300):
        chance = drill.random
        kinds = chance.choices(KINDS, k=chance.randint(1, 60))
        suffix = chance.choice(list(PACKERS))
        content = b"".join(_line(kind, number) for number, kind in enumerate(kinds))
        for folder in ("documents", "dropped", ".phases"):
            shutil.rmtree(tmp_path / folder, ignore_errors=True)
        file = write(tmp_path / f"mine.jsonl{suffix}", PACKERS[suffix](content))

        counts = read.run(LENIENT, [file], phase("read", workers=1))

        counts.check("read")
        lines = sum(kind != "blank" for kind in kinds)
        readable = sum(kind in ("whole", "duplicate") for kind in kinds)
        assert (counts.documents_in, counts.documents_out) == (lines, readable), kinds
        assert len(documents(tmp_path)) == readable
        drill.passed()


def _line(kind: str, number: int) -> bytes:
    whole = orjson.dumps({"text": f"Text {number} of rivers.", "url": f"http://a.org/{number}"})
    return {
        "whole": whole,
        "broken": whole[:-7],
        "no text": b'{"url": "http://a.org/x", "body": 1}',
        "no object": b"[1, 2]",
        "not UTF-8": b'{"text": "\xff\xfe"}',
        "blank": b"",
        "duplicate": orjson.dumps({"text": "The same.", "url": "http://a.org/same"}),
    }[kind] + b"\n"


@pytest.mark.slow
def test_neither_workers_nor_their_order_can_be_seen(drill: Drill, clean: Path, tmp_path: Path, monkeypatch):
    drill.promise("R14", "1, 2, 4 workers; files in another order; other programs at work")
    for number in drill.trials(few=1, full=6):
        out = tmp_path / f"{number}" / "d"
        workers = (2, 1, 4)[number % 3]
        busy = [_busy() for _ in range(number % 2)]
        try:
            build(prepared(out, files=3), f"execute.workers={workers}")
        finally:
            for process in busy:
                process.kill()
                process.wait()
        _assert_same(out, clean)
        drill.passed()


def _busy() -> subprocess.Popen[bytes]:
    """Start a program that takes a core for itself."""
    return subprocess.Popen([sys.executable, "-c", "while True: pass"])
