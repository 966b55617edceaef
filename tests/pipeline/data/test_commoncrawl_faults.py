"""Archives and indexes that are not what they should be, kills, full disks: nothing wrong is stored, and what
is right is not asked for twice.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.data import commoncrawl
from pipeline.data.archive import copying as commoncrawl_copy
from pipeline.data.archive import index as commoncrawl_index
from pipeline.data.commoncrawl import CommonCrawlConfig
from pipeline.errors import ConfigError, FormatError, StageError
from tests.pipeline.data.small_archive import (
    INDEX,
    WARC,
    RangeServer,
    Reply,
    at,
    index_rows,
    log,
    make_archive,
    many,
    over,
    stored,
    write_archive,
    write_index,
    write_links,
)


def test_an_index_with_a_missing_column_is_named(tmp_path: Path, phase):
    make_archive(tmp_path / "cc", many(5), without="warc_record_offset")
    write_links(tmp_path, ["http://site2.test/2"])

    with pytest.raises(FormatError, match=r"part-0\.parquet: no column warc_record_offset"):
        at(tmp_path / "cc", phase)


def test_a_cut_off_index_is_named(tmp_path: Path, phase):
    make_archive(tmp_path / "cc", many(5))
    index = tmp_path / "cc" / INDEX
    index.write_bytes(index.read_bytes()[:-200])
    write_links(tmp_path, ["http://site2.test/2"])

    with pytest.raises(StageError, match=r"part-0\.parquet: .*leave this file out"):
        at(tmp_path / "cc", phase)


def test_a_lookup_goes_on_with_the_index_files_that_are_not_done(tmp_path: Path, phase):
    make_archive(tmp_path / "cc", many(5))
    write_links(tmp_path, ["http://site2.test/2"])

    with RangeServer(tmp_path / "cc") as server:
        index = [server.url + INDEX, f"{server.url}late.parquet"]
        with pytest.raises(
            StageError, match=r"late\.parquet: http-404; what was found in other files is kept"
        ):
            over(server, phase, index=index)
        asked = sum(path == f"/{INDEX}" for path, _, _ in server.requests)
        write_index(tmp_path / "cc" / "late.parquet", index_rows(tmp_path / "cc" / WARC, WARC))
        assert over(server, phase, index=index).extra["served"] == 1

    assert asked == sum(path == f"/{INDEX}" for path, _, _ in server.requests) > 0


def test_a_disk_that_is_full_while_the_index_is_read_is_not_the_fault_of_an_index_file(
    tmp_path: Path, phase, monkeypatch
):
    @contextmanager
    def full(_: Path):
        yield Path("/dev/full")

    make_archive(tmp_path / "cc", many(5))
    write_links(tmp_path, ["http://site2.test/2"])
    monkeypatch.setattr(commoncrawl_index, "publishing", full)

    with pytest.raises(OSError, match="No space left on device"):
        at(tmp_path / "cc", phase)


def no_range(reply: Reply, _: int) -> None:
    reply.status, reply.headers, reply.body = 200, {}, reply.whole
    reply.length = len(reply.body)


def cut(reply: Reply, _: int) -> None:
    reply.body = reply.body[:-10]


def short(reply: Reply, _: int) -> None:
    reply.headers["Content-Range"] = f"bytes 0-9/{len(reply.whole)}"
    reply.body = reply.whole[:10]
    reply.length = 10


def flipped(reply: Reply, _: int) -> None:
    middle = len(reply.body) // 2
    reply.body = reply.body[:middle] + bytes([reply.body[middle] ^ 0xFF]) + reply.body[middle + 1 :]


def missing(reply: Reply, _: int) -> None:
    reply.status, reply.headers = 404, {}


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (no_range, "range-ignored"),
        (cut, "connection-cut"),
        (short, "range-wrong"),
        (flipped, "damaged"),
        (missing, "http-404"),
    ],
)
def test_a_server_that_sends_something_else_serves_nothing(tmp_path: Path, phase, odd, reason):
    make_archive(tmp_path / "cc", many(5))
    write_links(tmp_path, ["http://site2.test/2", "http://site3.test/3"])

    with RangeServer(tmp_path / "cc", odd) as server:
        counts = over(server, phase)

    assert counts.extra == {"served": 0, "missed": {reason: 2}}
    assert stored(tmp_path) == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"url": "http://site2.test/other"}, "wrong-record"),
        ({"content_digest": "A" * 32}, "wrong-digest"),
        ({"warc_record_length": 50}, "damaged"),
        ({"warc_record_length": 10_000}, "damaged"),
        ({"warc_record_offset": 0}, "damaged"),
        ({"warc_filename": "../secret.warc.gz"}, "no-file"),
    ],
)
def test_an_index_that_lies_is_caught(tmp_path: Path, phase, change, reason):
    write_archive(tmp_path / "cc" / WARC, many(5) + [{"url": "http://z.test/", "body": os.urandom(20_000)}])
    (tmp_path / "secret.warc.gz").write_bytes((tmp_path / "cc" / WARC).read_bytes())
    rows = index_rows(tmp_path / "cc" / WARC, WARC)
    rows[2] |= change
    write_index(tmp_path / "cc" / INDEX, rows)
    write_links(tmp_path, ["http://site2.test/2", "http://site3.test/3"])

    counts = at(tmp_path / "cc", phase)

    assert counts.extra == {"served": 1, "missed": {reason: 1}}


def test_a_busy_server_is_asked_one_by_one_until_it_is_well(tmp_path: Path, phase):
    times = []

    def busy(reply: Reply, number: int) -> None:
        times.append(time.monotonic())
        if number <= 10:
            reply.status, reply.body, reply.length = 503, b"", 0

    make_archive(tmp_path / "cc", many(20))
    write_links(tmp_path, [each["url"] for each in many(20)])

    with RangeServer(tmp_path / "cc", busy) as server:
        counts = over(server, phase, connections=8, attempts=20, spacing_seconds=0.4)

    assert counts.extra["served"] == 20
    # The first eight were under way together; each of the next ones waited for its turn. The server sees them
    # a little nearer or further apart than they were sent; without a turn they would come all at once.
    assert times[10] - times[7] > 2 * 0.4


def test_a_server_is_left_alone_as_long_as_it_asks_for(tmp_path: Path, phase):
    times = []

    def away(reply: Reply, number: int) -> None:
        times.append(time.monotonic())
        if number == 1:
            reply.status, reply.body, reply.length = 503, b"", 0
            reply.headers["Retry-After"] = "1"

    make_archive(tmp_path / "cc", many(3))
    write_links(tmp_path, ["http://site2.test/2"])

    with RangeServer(tmp_path / "cc", away) as server:
        counts = over(server, phase)

    assert counts.extra["served"] == 1
    assert times[1] - times[0] > 0.99


def test_an_archive_that_serves_nothing_is_an_error_and_forgets_what_failed(
    tmp_path: Path, phase, monkeypatch
):
    monkeypatch.setattr(commoncrawl_copy, "_MOST_FAILURES", 10)
    make_archive(tmp_path / "cc", many(40))
    write_links(tmp_path, [each["url"] for each in many(40)])

    with pytest.raises(StageError, match=r"10 records in a row .* no-file"):
        at(tmp_path / "cc", phase, files=str(tmp_path / "nowhere"))

    assert at(tmp_path / "cc", phase).extra["served"] == 40


def test_an_address_that_is_not_public_is_refused_unless_allowed(tmp_path: Path, phase):
    make_archive(tmp_path / "cc", many(3))
    write_links(tmp_path, ["http://site2.test/2"])

    with RangeServer(tmp_path / "cc") as server:
        with pytest.raises(StageError, match="not a public address"):
            over(server, phase, index=[str(tmp_path / "cc" / INDEX)], allow=[], contact="a@b.org")
        assert server.requests == []


def test_a_public_server_is_told_whom_to_write_to(tmp_path: Path, phase):
    write_links(tmp_path, ["http://site2.test/2"])

    with pytest.raises(ConfigError, match=r"commoncrawl\.contact: '' is no address"):
        commoncrawl.run(CommonCrawlConfig(index=["x.paths.gz"]), phase("commoncrawl"), fetch_follows=True)


RUN = """
import json, sys
from pathlib import Path
from pipeline.data import commoncrawl
from pipeline.data.commoncrawl import CommonCrawlConfig
from pipeline.data.execute import ExecuteConfig
from pipeline.data.phase import PhaseRun
out, config = Path(sys.argv[1]), CommonCrawlConfig(**json.loads(sys.argv[2]))
work = out / ".phases" / "x"
phase = PhaseRun(name="commoncrawl", dataset=out, source=out, work=work, execute=ExecuteConfig())
print(commoncrawl.run(config, phase, True).extra["served"])
"""


def command(dataset: Path, before: str = "", **settings: Any) -> list[str]:
    return [sys.executable, "-c", before + RUN, str(dataset), json.dumps(settings)]


def test_killed_at_any_moment_nothing_whole_is_asked_for_again(tmp_path: Path):
    captures = many(60)
    make_archive(tmp_path / "cc", captures)
    write_links(tmp_path, [each["url"] for each in captures])

    def slow(_: Reply, __: int) -> None:
        time.sleep(0.01)

    with RangeServer(tmp_path / "cc", slow) as server:
        sources = {"index": [server.url + INDEX], "files": server.url, "allow": [server.place]}
        run = command(tmp_path, connections=2, file_bytes=4096, **sources)
        for records in (5, 25):
            process = subprocess.Popen(run)
            while server.asked_warc() < records and process.poll() is None:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
        done = subprocess.run(run, check=True, capture_output=True, text=True)

    assert done.stdout == "60\n"
    assert len(stored(tmp_path)) == len(log(tmp_path)) == 60
    asked = [span for path, span, _ in server.requests if path.endswith(".warc.gz")]
    assert len(asked) - len(set(asked)) <= 2 * 2, "at most those under way at each kill were asked for twice"


def test_a_full_disk_is_named_and_what_was_copied_is_kept(tmp_path: Path):
    captures = many(60)
    make_archive(tmp_path / "cc", [{**each, "body": os.urandom(4000).hex().encode()} for each in captures])
    write_links(tmp_path, [each["url"] for each in captures])
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    )
    sources = {"index": [str(tmp_path / "cc" / INDEX)], "files": str(tmp_path / "cc")}

    failed = subprocess.run(command(tmp_path, limit, **sources), capture_output=True, text=True)
    whole = subprocess.run(command(tmp_path, **sources), capture_output=True, text=True, check=True)

    assert "make room there and run the same command again" in failed.stderr
    assert whole.stdout == "60\n"
    assert len(stored(tmp_path)) == 60
