import asyncio
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.crawl.addresses import (
    AddressPolicy,
    AddressRefusedError,
    CheckedResolver,
    endpoint,
    is_public,
)

REFUSED = """
0.0.0.0 0.255.255.255 10.0.0.0 10.1.2.3 10.255.255.255 100.64.0.0 100.100.100.200 100.127.255.255 127.0.0.1
127.255.255.255 169.254.0.0 169.254.169.254 169.254.255.255 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.255
192.0.2.1 192.88.99.1 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.7 203.0.113.9
224.0.0.0 239.255.255.255 240.0.0.0 255.255.255.255 168.63.129.16 :: ::1 fc00:: fdff::1 fd00:ec2::254
fe80::1 fe80::1%eth0 febf::1 fec0::1 ff00:: ff02::1 100::1 2001::1 2001:db8::1 3fff::1 5f00::1
::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 ::ffff:0:169.254.169.254 2002:7f00:1:: 2002:a9fe:a9fe::1
64:ff9b::7f00:1 64:ff9b::a00:1 64:ff9b:1::1 2001:0:4136:e378:8000:63bf:3fff:fdd2
""".split()  # noqa: SIM905 - a table, not code
PUBLIC = """
1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255
169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0
223.255.255.255 2606:4700::1111 2a00:1450::1 ::ffff:8.8.8.8 2002:808:808::1 64:ff9b::808:808
""".split()  # noqa: SIM905 - a table, not code


@pytest.mark.parametrize("ip", REFUSED)
def test_an_address_that_is_not_public_is_refused_before_a_socket_is_made(ip):
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET

    with pytest.raises(AddressRefusedError, match="not a public address"):
        AddressPolicy().open_socket((family, socket.SOCK_STREAM, 0, "", (ip, 80)))


@pytest.mark.parametrize("ip", PUBLIC)
def test_a_public_address_is_permitted(ip):
    AddressPolicy().check(ip, 80)


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "::{}", "64:ff9b::{}"]))
def test_an_address_inside_an_address_is_judged_by_itself(inner, form):
    import ipaddress

    assert is_public(ipaddress.ip_address(form.format(inner))) == is_public(inner)


def test_only_the_allowed_port_of_a_private_address_is_permitted():
    policy = AddressPolicy(allow=["127.0.0.1:8000"])

    policy.check("127.0.0.1", 8000)
    with pytest.raises(AddressRefusedError):
        policy.check("127.0.0.1", 8001)
    with pytest.raises(AddressRefusedError):
        policy.check("127.0.0.2", 8000)


class _Answers(AbstractResolver):
    """A name server that says what the test wants, one answer after the other."""

    def __init__(self, *answers: list[str]):
        self._answers = iter(answers)

    async def resolve(self, host, port=0, family=socket.AF_UNSPEC):
        row = {"hostname": host, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
        return [ResolveResult(host=ip, **row) for ip in next(self._answers)]

    async def close(self):
        pass


def test_a_name_with_one_private_address_among_public_ones_is_refused():
    resolver = CheckedResolver(AddressPolicy(), _Answers(["1.1.1.1", "10.0.0.1"]))

    with pytest.raises(AddressRefusedError):
        asyncio.run(resolver.resolve("mixed.example", 80))


def test_a_name_that_turns_private_the_second_time_is_refused_then():
    resolver = CheckedResolver(AddressPolicy(), _Answers(["1.1.1.1"], ["127.0.0.1"]))

    assert asyncio.run(resolver.resolve("rebinding.example", 80))[0]["host"] == "1.1.1.1"
    with pytest.raises(AddressRefusedError):
        asyncio.run(resolver.resolve("rebinding.example", 80))


def test_a_mapped_name_is_not_looked_up_and_still_checked():
    allowed = AddressPolicy(allow=["127.0.0.1:8000"], hosts={"*.example.test": "127.0.0.1:8000"})
    forgotten = AddressPolicy(hosts={"*.example.test": "127.0.0.1:8000"})

    row = asyncio.run(CheckedResolver(allowed, _Answers()).resolve("a.example.test", 80))[0]

    assert (row["host"], row["port"]) == ("127.0.0.1", 8000)
    with pytest.raises(AddressRefusedError):
        asyncio.run(CheckedResolver(forgotten, _Answers()).resolve("a.example.test", 80))


@pytest.mark.parametrize("text", ["localhost:80", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", ":80", ""])
def test_an_endpoint_is_an_address_and_a_port(text):
    with pytest.raises(ValueError, match="not an address and a port"):
        endpoint(text)
