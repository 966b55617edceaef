import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.formats import publish
from pipeline.quickstart.server import Server, start


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[Server]:
    with start(site) as running:
        yield running


def get(server: Server, path: str) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection(server.address, timeout=10)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        body = reply.read()
        assert reply.headers["Content-Length"] == str(len(body))
        return reply.status, reply.headers["Content-Type"], body
    finally:
        connection.close()


def is_listening(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def wait_until_silent(address: str) -> None:
    limit = time.monotonic() + 10
    while is_listening(address):
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_every_page_is_served_as_it_lies_on_disk_over_one_connection(site: Path, server: Server):
    connection = http.client.HTTPConnection(server.address, timeout=10)
    for page in publish.read_json(site / "index.json")["pages"]:
        connection.request("GET", f"/{page['path']}")
        reply = connection.getresponse()
        assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
        assert reply.read() == (site / page["path"]).read_bytes()
        assert reply.version == 11 and not reply.will_close
    connection.close()


def test_the_root_is_the_index_and_robots_are_told_where_not_to_go(site: Path, server: Server):
    assert get(server, "/") == (200, "text/html; charset=utf-8", (site / "index.html").read_bytes())
    assert get(server, "/robots.txt")[2] == b"User-agent: *\nDisallow: /about/\n"


@pytest.mark.parametrize(
    "path",
    [
        "/none.html",
        "/zoo",
        "/../secret.html",
        "/%2e%2e/secret.html",
        "/zoo/..%2f..%2fsecret.html",
        "/.hidden.html",
        "//etc/passwd",
        "/a%00.html",
    ],
)
def test_whatever_is_not_a_page_is_not_found(site: Path, server: Server, path: str):
    (site.parent / "secret.html").write_text("secret")

    status, _, body = get(server, path)

    assert status == 404
    assert b"secret" not in body


def test_leaving_the_context_ends_the_server(site: Path):
    with start(site) as running:
        assert is_listening(running.address)
    assert not is_listening(running.address)


def test_the_server_ends_when_its_parent_is_killed(site: Path):
    code = (
        "import sys, time; from pathlib import Path; from pipeline.quickstart.server import start\n"
        "with start(Path(sys.argv[1])) as s: print(s.address, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(site)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    address = parent.stdout.readline().strip()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()

    wait_until_silent(address)


def test_it_listens_on_loopback_alone(server: Server):
    assert server.address.startswith("127.0.0.1:")
