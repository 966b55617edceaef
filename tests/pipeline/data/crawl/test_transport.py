"""Single requests under the address policy. DNS and the connection itself are replaced: nothing is sent."""

import asyncio
import socket
from urllib.parse import urlsplit

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from pipeline.data.crawl.addresses import AddressPolicy, is_public
from pipeline.data.crawl.transport import FetchError, Limits, Transport
from pipeline.data.url import UrlError, target
from tests.pipeline.data.crawl.test_addresses import REFUSED

LIMITS = Limits(
    connect_seconds=1,
    first_byte_seconds=1,
    total_seconds=1,
    min_bytes_per_second=0,
    header_bytes=8192,
    body_bytes=1 << 20,
    ratio=100,
)
ODD = """
127.1 127.0.1 0x7f000001 0x7F.1 2130706433 0177.0.0.1 017700000001 0x7f.0x0.0x0.0x1 127.0.0.1. 127.1.
\uff11\uff12\uff17.0.0.1 127\u30020\u30020\u30021 %31%32%37.0.0.1 0.0.0.0 0 00 0x0 169.254.43518 0xa9fea9fe
2852039166 [::ffff:7f00:1] [::ffff:127.0.0.1] [0:0:0:0:0:0:0:1] [64:ff9b::127.0.0.1] [::127.0.0.1]
[2002:7f00:1::]
""".split()  # noqa: SIM905 - a table, not code


class Names(AbstractResolver):
    """A name server with a list of answers for a name, given out in turns."""

    def __init__(self, *answers: list[str]):
        self._answers, self._asked = answers, 0

    async def resolve(self, host, port=0, family=socket.AF_UNSPEC):
        answer = self._answers[self._asked % len(self._answers)]
        self._asked += 1
        return [
            ResolveResult(
                hostname=host,
                host=ip,
                port=port,
                family=socket.AF_INET6 if ":" in ip else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for ip in answer
        ]

    async def close(self):
        pass


@pytest.fixture
def connections(monkeypatch):
    """Return the list of addresses that a connection was begun to."""
    begun = []

    async def connect(_loop, _socket, address):
        begun.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr("asyncio.selector_events.BaseSelectorEventLoop.sock_connect", connect)
    return begun


def reasons(urls, monkeypatch, *answers: list[str]) -> list[str]:
    """Return why each URL could not be fetched."""
    monkeypatch.setattr("aiohttp.ThreadedResolver", lambda: Names(*answers))

    async def ask(transport, url):
        with pytest.raises(FetchError) as failure:
            await transport.get(target(url), lambda *_: True)
        return failure.value.reason

    async def main():
        async with Transport(LIMITS, AddressPolicy(), "test") as transport:
            return [await ask(transport, url) for url in urls]

    return asyncio.run(main())


def test_no_address_that_is_not_public_is_connected_to(connections, monkeypatch):
    hosts = [f"[{ip}]" if ":" in ip else ip for ip in REFUSED if "%" not in ip]

    found = reasons([f"http://{host}/" for host in [*hosts, *ODD]], monkeypatch)

    assert set(found) == {"address-refused"}
    assert connections == []


def test_a_name_that_changes_its_address_is_never_followed_inside(connections, monkeypatch):
    answers = [["1.1.1.1"], ["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["::1"], ["169.254.169.254"]]

    found = reasons([f"http://n{n}.example/" for n in range(1000)], monkeypatch, *answers)

    assert found == ["connect", *["address-refused"] * 4] * 200
    assert set(connections) == {"1.1.1.1"}


def test_an_answer_that_changes_between_check_and_connection_is_not_connected_to(connections, monkeypatch):
    class Turning(dict):
        """One answer of a name server whose address is another one each time it is looked at."""

        looked = 0

        def __getitem__(self, key):
            if key != "host":
                return super().__getitem__(key)
            self.looked += 1
            return "1.1.1.1" if self.looked == 1 else "127.0.0.1"

    async def resolve(_self, host, port=0, family=socket.AF_INET):
        row = {"hostname": host, "host": "", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
        return [Turning(row)]

    monkeypatch.setattr(Names, "resolve", resolve)

    assert reasons(["http://rebinding.example/"], monkeypatch) == ["address-refused"]
    assert connections == []


@given(st.ip_addresses(v=4).filter(lambda ip: not is_public(ip)), st.data())
def test_an_address_is_known_in_every_spelling(ip, data):
    parts = str(ip).split(".")
    keep = data.draw(st.integers(0, 3))  # parts before the last, which takes the rest
    rest = int(ip) & (1 << 8 * (4 - keep)) - 1
    spell = st.sampled_from([str, hex, lambda part: f"0{part:o}", lambda part: f"0X{part:X}"])
    numbers = [*map(int, parts[:keep]), rest]
    spelled = ".".join(data.draw(spell)(number) for number in numbers)

    assert target(f"http://{spelled}{data.draw(st.sampled_from(['', '.']))}/").host == str(ip)


NASTY = st.text(
    st.sampled_from(r"ht:/\@?#[]%.0127aexm-_;=&+~!$ '" + "\t\r\n\0\u3002\uff11\u200b\u00df"), max_size=30
)


@given(
    NASTY,
    st.sampled_from(["http://", "http:", "https:/", "//", "http:///", "http://127.0.0.1\\@", "http://a@"]),
)
def test_three_parsers_see_the_host_that_the_policy_saw_or_the_url_is_refused(rest, start):
    try:
        place = target(start + rest)
    except UrlError:
        return
    try:
        asked = URL(place.href, encoded=True)
    except ValueError:
        return  # the transport says bad-url
    if (asked.raw_host or "").rstrip(".") != place.host:
        return  # and here too
    judged = urlsplit(place.href)
    assert (judged.hostname or "").rstrip(".") == place.host
    assert asked.port == place.port == (judged.port or {"http": 80, "https": 443}[judged.scheme])
    assert not (asked.user or asked.password or judged.username or judged.password)
    assert not set(place.href) & set("\t\r\n\0 ")


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://a b/",
        "http://a\x00b/",
        "http://a/\r\nX-Injected: 1",
        "http://a\tb/",
        "http://a:99999/",
        "http://user@a/",
        "http://a@b@c/",
        "http://[::1",
        "http://[::1%25eth0]/",
        "gopher://a/",
    ],
)
def test_a_url_that_parsers_could_take_in_two_ways_is_refused(url):
    with pytest.raises(UrlError):
        target(url)


def test_a_backslash_does_not_hide_the_host():
    assert target("http://127.0.0.1\\@evil.example/").host == "127.0.0.1"
    assert target("http://good.example\\.evil.example/").host == "good.example"
