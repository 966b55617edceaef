"""The crawler against servers that misbehave on purpose: it ends, in bounded memory, with the reason logged.

Addresses that must be refused are refused before there is a socket: see also test_addresses.py and
test_transport.py.
"""

import asyncio
import gzip
import ssl
import subprocess
import sys
import time
import zlib
from collections import Counter

import brotli
import pytest

from tests.pipeline.data.crawling import (
    PAGE,
    Server,
    config,
    crawl,
    crawling,
    cut,
    drip,
    drip_headers,
    endless,
    endless_continue,
    log,
    moved,
    nothing,
    records,
    reply,
    run,
    silent,
    write_links,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GIGABYTES = 10 << 30
CHUNK = bytes(4 << 20)


@pytest.fixture
def server():
    with Server() as running:
        yield running


@pytest.mark.parametrize(
    ("encoding", "encode"), [("gzip", gzip.compress), ("br", brotli.compress), ("zstd", zstd.compress)]
)
def test_a_compressed_page_is_stored_inflated(server, tmp_path, encoding, encode):
    server.pages["/page"] = reply(encode(PAGE), Content_Encoding=encoding)
    server.pages["/broken"] = reply(b"never compressed", Content_Encoding=encoding)

    rows = crawl(server, tmp_path, ["http://one.test/page", "http://one.test/broken"])

    assert {path: row["reason"] for path, row in rows.items()} == {"/page": "stored", "/broken": "decoding"}
    [(_, http_headers, body)] = records(tmp_path)
    assert body == PAGE
    assert http_headers["X-Crawler-Content-Encoding"] == encoding


def gzip_bomb() -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS + 16)
    head = deflater.compress(CHUNK) + deflater.flush(zlib.Z_FULL_FLUSH)
    again = deflater.compress(CHUNK) + deflater.flush(zlib.Z_FULL_FLUSH)  # needs nothing of what came before
    return head + again * (GIGABYTES // len(CHUNK))


def brotli_bomb() -> bytes:
    compressor = brotli.Compressor(quality=1)
    head, again = (compressor.process(CHUNK) + compressor.flush() for _ in range(2))
    return head + again * (GIGABYTES // len(CHUNK))


def zstd_bomb() -> bytes:
    compressor = zstd.ZstdCompressor()
    flush = zstd.ZstdCompressor.FLUSH_BLOCK
    head, again = (compressor.compress(CHUNK, flush) for _ in range(2))
    return head + again * (GIGABYTES // len(CHUNK))


def test_bombs_of_ten_gigabytes_and_endless_pages_take_no_memory(server, tmp_path):
    wires = {"gzip": gzip_bomb(), "br": brotli_bomb(), "zstd": zstd_bomb()}
    wires["gzip, gzip"] = gzip.compress(wires["gzip"], 1)
    wires["br, gzip"] = gzip.compress(wires["br"], 1)
    server.pages |= {
        f"/{encoding.replace(', ', '-')}": reply(wire, Content_Encoding=encoding)
        for encoding, wire in wires.items()
    }
    server.pages |= {"/endless": endless, "/long-header": reply(X_Bomb="x" * (1 << 20)), "/page": reply()}
    names = ["gzip", "br", "zstd", "gzip-gzip", "br-gzip", "endless", "long-header"]
    write_links(tmp_path, [f"http://h{n}.test/{name}" for n, name in enumerate(names)])

    process = crawling(server, tmp_path, warm="http://warm.test/page", concurrency=1, total_seconds=20)
    grown, said = process.communicate()

    assert process.returncode == 0, said
    reasons = {path[1:]: row["reason"] for path, row in log(tmp_path).items()}
    assert {reasons.pop("endless"), reasons.pop("long-header")} == {"body-too-large", "headers-too-large"}
    assert set(reasons.values()) <= {"compression-ratio", "body-too-large"}
    assert int(grown) < 32 << 20


def test_each_bomb_is_what_it_says():
    start = 40 << 20
    inflated = zlib.decompressobj(zlib.MAX_WBITS + 16).decompress(gzip_bomb(), start)
    assert inflated == bytes(start)
    decoder, wire = zstd.ZstdDecompressor(), zstd_bomb()
    assert decoder.decompress(wire, start) == bytes(start)
    assert brotli.Decompressor().process(brotli_bomb()[:20_000]).count(0) > start


async def hundred_thousand_continues(writer):
    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000 + reply())
    await writer.drain()


async def never_shakes_hands(writer):
    await asyncio.sleep(30)


MISBEHAVIOUR = {
    "endless-body": (endless, "body-too-large"),
    "announced-too-large": (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "body-too-large"),
    "one-byte-at-a-time": (drip, "total-timeout"),
    "headers-one-byte-at-a-time": (drip_headers, "first-byte-timeout"),
    "hang": (silent, "first-byte-timeout"),
    "endless-continue": (endless_continue, "first-byte-timeout"),
    "100k-continues": (hundred_thousand_continues, "headers-too-large"),
    "cut": (cut, "connection-cut"),
    "closed": (nothing, "connection-cut"),
    "long-header": (reply(X_Bomb="x" * (1 << 20)), "headers-too-large"),
    "many-headers": (reply(**{f"X_{n}": "y" * 500 for n in range(100)}), "headers-too-large"),
    "not-http": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "bad-response"),
    "two-lengths": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "bad-response",
    ),
    "negative-length": (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", "bad-response"),
    "image": (reply(b"\x89PNG", Content_Type="image/png"), "content-type"),
    "image-called-html": (reply(b"\x89PNG\r\n\x1a\n\x00\x00"), "content-type"),
    "empty": (reply(b""), "empty"),
    "gone": (reply(status="410 Gone"), "http-410"),
    "switches": (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "http-101",
    ),
    "promised-more": (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n<html>short", "total-timeout"),
    "loop": (moved("/loop"), "too-many-redirects"),
    "to-file": (moved("file:///etc/passwd", "301 Moved"), "redirect-not-http"),
    "to-ftp": (moved("ftp://127.0.0.1/", "303 See Other"), "redirect-not-http"),
    "to-data": (moved("data:text/html,hello", "307 Temporary Redirect"), "redirect-not-http"),
    "to-script": (moved("javascript:alert(1)", "308 Permanent Redirect"), "redirect-not-http"),
    "to-login": (moved("http://user:word@one.test/"), "redirect-credentials"),
    "to-inner-name": (moved("http://inner.test/"), "address-refused"),
    "to-inner-name-v6": (moved("http://inner6.test/"), "address-refused"),
    "to-ssh": (moved("http://other.example:22/"), "port"),
    "to-nothing": (moved("http://[::1"), "redirect-bad-url"),
    "to-loopback": (moved("http://127.0.0.1:9/"), "port"),
    "to-metadata": (moved("http://169.254.169.254/latest/meta-data/"), "address-refused"),
    "to-odd-loopback": (moved("//0x7f000001/"), "address-refused"),
    "to-mapped-loopback": (moved("http://[::ffff:127.0.0.1]/"), "address-refused"),
    "to-v6-loopback": (moved("http://[::1]/"), "address-refused"),
}


def test_every_misbehaviour_ends_in_bounded_time_with_its_reason(server, tmp_path):
    server.pages |= {f"/{name}": answer for name, (answer, _) in MISBEHAVIOUR.items()}
    urls = [f"http://h{n}.test/{name}" for n, name in enumerate(MISBEHAVIOUR)]
    start = time.monotonic()

    inner = {"inner.test": "10.0.0.1:80", "inner6.test": "[fd00::1]:80"}
    rows = crawl(server, tmp_path, urls, contact="crawl@example.org", hosts=inner)

    assert {path[1:]: row["reason"] for path, row in rows.items()} == {
        name: reason for name, (_, reason) in MISBEHAVIOUR.items()
    }
    assert records(tmp_path) == []
    assert time.monotonic() - start < 60


def test_addresses_of_links_are_refused_like_those_of_redirects(server, tmp_path):
    port = server.place.rpartition(":")[2]
    urls = [
        "http://127.0.0.1/",
        "http://10.0.0.1/",
        "http://[fe80::1]/",
        "http://2130706434/",
        "ftp://x.test/",
    ]

    rows = crawl(server, tmp_path, [*urls, f"http://127.0.0.2:{port}/"], contact="crawl@example.org")

    reasons = Counter(row["reason"] for row in rows.values())
    assert reasons == {"address-refused": 4, "not-http": 1, "port": 1}
    assert server.requests == []


def test_a_growing_query_and_two_pages_that_name_each_other_end(server, tmp_path):
    class Growing(dict):
        def get(self, path, default=None):
            return moved(f"{path}&more=1") if path.startswith("/grow") else super().get(path, default)

    server.pages = Growing(
        server.pages | {"/a": moved("http://two.test/b"), "/b": moved("http://one.test/a")}
    )

    rows = crawl(server, tmp_path, ["http://one.test/a", "http://one.test/grow?x"])

    assert {row["reason"] for row in rows.values()} == {"too-many-redirects"}
    assert len(server.pages_asked()) == 12


def test_a_redirect_longer_than_any_url_is_not_followed(server, tmp_path):
    server.pages["/a"] = moved("/" + "x" * 3000)

    assert crawl(server, tmp_path, ["http://one.test/a"])["/a"]["reason"] == "redirect-url-too-long"


def test_what_a_page_asks_its_reader_to_do_is_not_done(server, tmp_path):
    page = b'<html><meta http-equiv="refresh" content="0; url=/next"><iframe src="/frame"></iframe>'
    server.pages["/a"] = reply(page, Refresh="0; url=/next", Link="</next>; rel=preload")

    assert crawl(server, tmp_path, ["http://one.test/a"])["/a"]["reason"] == "stored"
    assert server.pages_asked() == ["/a"]


def test_slow_servers_do_not_hold_up_the_others(server, tmp_path):
    server.pages |= {"/drip": drip, "/page": reply()}
    write_links(tmp_path, [f"http://{n}.test/{name}" for n in range(100) for name in ("drip", "page")])
    start = time.monotonic()

    counts = run(
        config(server, concurrency=128, attempts=1, total_seconds=3, first_byte_seconds=30), tmp_path
    )

    assert (counts.documents_out, counts.dropped) == (100, {"total-timeout": 100})
    assert time.monotonic() - start < 60  # one after the other they would take 300 s


@pytest.mark.parametrize("port", [22, 25, 53, 6379, 8080, 11211, 65535])
def test_only_the_web_has_ports(server, tmp_path, port):
    row = crawl(server, tmp_path, [f"http://public.example:{port}/"], contact="crawl@example.org")

    assert [each["reason"] for each in row.values()] == ["port"]


def test_neither_proxies_nor_passwords_nor_cookies_are_taken_from_anywhere(server, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine one.test login somebody password something\n")
    server.pages |= {"/a": reply(Set_Cookie="canary=1"), "/b": reply(Set_Cookie="canary=2")}
    with Server() as canary:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://{canary.place}")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

        rows = crawl(server, tmp_path, ["http://one.test/a", "http://one.test/b"], host_connections=1)

    assert [row["reason"] for row in rows.values()] == ["stored", "stored"]
    assert canary.requests == []
    assert not [
        head for head in server.heads if b"authorization" in head.lower() or b"cookie" in head.lower()
    ]


def openssl(folder, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Return a folder with an authority's certificate and what servers of four names show."""
    folder = tmp_path_factory.mktemp("certificates")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    try:
        openssl(folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority")
    except FileNotFoundError:
        pytest.skip("makes its certificates with openssl, which is not installed")
    for name, host, days in (("good", "good", 1), ("expired", "expired", 0), ("wrong", "other", 1)):
        (folder / "names").write_text(f"subjectAltName=DNS:{host}.test")
        openssl(
            folder, "req", "-new", *key, "-keyout", f"{name}.key", "-out", "csr", "-subj", f"/CN={host}.test"
        )
        signed = (
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-extfile",
            "names",
            "-days",
            str(days),
        )
        openssl(folder, "x509", "-req", "-in", "csr", *signed, "-out", f"{name}.pem")
    own = (
        "-keyout",
        "own.key",
        "-out",
        "own.pem",
        "-subj",
        "/CN=own.test",
        "-addext",
        "subjectAltName=DNS:own.test",
    )
    openssl(folder, "req", "-x509", *key, *own)
    time.sleep(1.1)  # until the expired one is
    return folder


@pytest.fixture
def tls_server(certificates):
    contexts = {}
    for name in ("good", "expired", "wrong", "own"):
        contexts[f"{name}.test"] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")

    def choose(connection, name, _context):
        connection.context = contexts[name]

    contexts["good.test"].sni_callback = choose
    with Server(tls=contexts["good.test"]) as running:
        yield running


def test_a_certificate_that_proves_nothing_is_refused(tls_server, certificates, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    tls_server.pages |= {f"/{name}": reply() for name in ("good", "expired", "wrong", "own")}

    urls = [f"https://{name}.test/{name}" for name in ("good", "expired", "wrong", "own")]
    rows = crawl(tls_server, tmp_path, urls)

    assert rows["/good"]["reason"] == "stored"
    assert {rows[f"/{name}"]["reason"] for name in ("expired", "wrong", "own")} == {"tls"}
    assert set(tls_server.requests) == {("good.test", "/robots.txt"), ("good.test", "/good")}


def test_a_server_that_never_shakes_hands_is_left(tmp_path):
    with Server() as plain:
        row = crawl(plain, tmp_path, ["https://one.test/"], attempts=1)["/"]

    assert row["reason"] == "robots-unreachable"
