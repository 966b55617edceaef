"""What would survive a loss of power: data on the disk before its name, the name before the next one.

R5: of every file that another process may read, in the order of the system calls: its last write, its fsync,
the rename that publishes it, the fsync of the directory it is in; manifest and meta last. (A file system that
loses what was never synced can be had neither here nor in most places that run tests; the order can be seen.)
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.drills import syscalls
from tests.drills.conftest import Drill
from tests.drills.publishing import GROWS, publish_all
from tests.drills.saving import LAST, READY, TOLD, TRACED, shared_words, until
from tests.drills.syscalls import Call, seen_calls
from tests.drills.test_crash_points import server  # noqa: F401 - processes that have torch loaded

PARTIAL = re.compile(r"^\..+\.partial-\d+-\d+-\d+$")


def test_every_published_file_is_on_the_disk_before_it_has_its_name(drill: Drill, server, tmp_path):  # noqa: F811
    drill.promise("R5", "write, fsync, rename, fsync of the directory, at every site that publishes")
    words, log, folder = shared_words(), tmp_path / "calls", tmp_path / "out"
    folder.mkdir()
    process = server.Process(target=publish_all, args=(folder, words))
    process.start()
    until(lambda: words[READY])
    tracer = syscalls.trace(process.pid, log, "-f", "-e", f"trace={','.join(syscalls.SEEN)}")
    words[TRACED] = 1
    process.join(120)
    tracer.wait(120)
    assert (process.exitcode, words[TOLD]) == (0, LAST)

    calls = list(seen_calls(log))
    disk = Disk(folder)
    for call in calls:
        disk.see(call)
    disk.assert_nothing_pending()
    drill.trials(few=len(disk.published), full=len(disk.published))
    drill.passed(len(disk.published))
    _assert_all_published(folder, set(disk.published))
    _assert_last(calls, folder / "dataset" / "manifest.json", folder / "dataset" / "shards")
    _assert_rows_before_checkpoints(calls, folder / "run")


class Disk:
    """What of a folder a loss of power would take: contents not synced since, names not synced since."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._contents: set[Path] = set()
        self._directories: set[Path] = set()  # with a new name in them
        self.published: list[Path] = []

    def see(self, call: Call) -> None:
        """Follow a call; AssertionError where it publishes what is not on the disk."""
        paths = [Path(path) for path in call.paths]
        if not paths or not all(path.is_relative_to(self._folder) for path in paths):
            return
        if call.name in ("fsync", "fdatasync"):
            self._contents.discard(paths[0])
            self._directories.discard(paths[0])
        elif call.name.startswith("rename"):
            self._rename(*paths)
        elif call.name == "mkdir":
            if not PARTIAL.match(paths[0].name):  # the name of a draft may be lost
                self._directories.add(paths[0].parent)
        elif call.name in ("unlink", "unlinkat", "rmdir"):
            self._forget(paths[0])
        elif call.writes:
            self._contents.add(paths[0])
            if _is_in_draft(paths[0]):
                self._directories.add(paths[0].parent)

    def assert_nothing_pending(self) -> None:
        """Assert that what was published has its name on the disk too, and so have the folders it is in."""
        above = {parent for path in self.published for parent in path.parents}
        assert not self._directories & above, f"names not synced in {self._directories & above}"

    def _rename(self, source: Path, target: Path) -> None:
        if PARTIAL.match(source.name):
            self.assert_nothing_pending()
            lost = [path for path in self._contents | self._directories if path.is_relative_to(source)]
            assert not lost, f"{target} was published before these were synced: {lost}"
            self._directories.add(target.parent)
            self.published.append(target)
        for known in (self._contents, self._directories):
            for path in [path for path in known if path.is_relative_to(source)]:
                known.discard(path)
                known.add(target / path.relative_to(source))

    def _forget(self, path: Path) -> None:
        for known in (self._contents, self._directories):
            known.difference_update([each for each in known if each.is_relative_to(path)])


def _is_in_draft(path: Path) -> bool:
    return any(PARTIAL.match(part) for part in path.parts[:-1])


def _assert_all_published(folder: Path, targets: set[Path]) -> None:
    """Assert that no file got its name in any other way."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in GROWS:
            assert targets & {path, *path.parents}, f"{path} was written under its own name"


def _assert_last(calls: list[Call], last: Path, others: Path) -> None:
    """Assert that a file is published after all that it tells of."""
    places = {call.paths[-1]: place for place, call in enumerate(calls) if call.name.startswith("rename")}
    assert all(places[str(path)] < places[str(last)] for path in others.iterdir())


def _assert_rows_before_checkpoints(calls: list[Call], run: Path) -> None:
    """Assert that the rows up to a checkpoint are on the disk before the checkpoint is."""
    rows = str(run / "metrics.jsonl")
    dirty, checkpoints = False, 0
    for call in calls:
        if call.paths and call.paths[0] == rows:
            dirty = call.name == "write" or (dirty and call.name != "fsync")
        is_checkpoint = call.name.startswith("rename") and Path(call.paths[-1]).name.startswith("step-")
        if is_checkpoint:
            checkpoints += 1
            assert not dirty, "a row was younger than its checkpoint"
    assert checkpoints > 1
