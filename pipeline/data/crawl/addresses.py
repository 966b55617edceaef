"""Which addresses a crawler may connect to: the public internet, and what the configuration names one by one.

Checked where it cannot be walked around: the resolver refuses a name any of whose addresses is refused, and
the socket factory sees the address of every connect, so literal addresses, redirects and names that answer
differently the second time meet the same rule.
"""

import fnmatch
import ipaddress
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# IANA's special-purpose registries (RFC 6890 and successors), as lists of our own: `ipaddress.is_global`
# differs between Python versions and knows nothing of addresses inside addresses.
_DENIED_V4 = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT, and some clouds' metadata services
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, most clouds' metadata service
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays, withdrawn
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
]
_DENIED_V4 += [ipaddress.IPv4Network("168.63.129.16/32")]  # a cloud's host agent on a public address
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
_DENIED_V6 = [
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo and ORCHID among them
        "2001:db8::/32",  # documentation
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
]
# Where an IPv4 address sits inside an IPv6 one: network, and how many bits lie below it.
_EMBEDDED = [
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # mapped
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),  # translated (RFC 2765)
    (ipaddress.IPv6Network("::/96"), 0),  # compatible; `::` and `::1` too, whose "IPv4" is in 0.0.0.0/8
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4
]


class AddressRefusedError(OSError):
    """A connection that the policy forbids; nothing has been sent."""


class AddressPolicy:
    """The rule: public addresses, and the `IP:PORT` pairs of `allow` whatever they are.

    `hosts` maps a host name (or a pattern such as `*.test`) to the `IP:PORT` to connect to instead of asking
    DNS; the mapped address is checked like any other.
    """

    def __init__(self, allow: Sequence[str] = (), hosts: Mapping[str, str] | None = None):
        self._allow = {endpoint(entry) for entry in allow}
        self._exact = {name: endpoint(place) for name, place in (hosts or {}).items()}
        self._patterns = [(name, place) for name, place in self._exact.items() if set(name) & set("*?[")]

    def check(self, ip: str, port: int) -> None:
        """Raise AddressRefusedError unless this endpoint may be connected to."""
        address = ipaddress.ip_address(ip.partition("%")[0])
        if "%" in ip or not (is_public(address) or (address, port) in self._allow):
            raise AddressRefusedError(f"{ip} port {port} is not a public address and not in `allow`")

    def mapped(self, host: str) -> tuple[Address, int] | None:
        """Return where `hosts` sends a name, if it does."""
        if host in self._exact:
            return self._exact[host]
        return next((place for name, place in self._patterns if fnmatch.fnmatchcase(host, name)), None)

    def is_private_crawl(self, host: str, port: int) -> bool:
        """Tell whether requests to this host go to an address that the configuration itself names."""
        place = self.mapped(host)
        if place is None:
            literal = as_address(host)
            place = (literal, port) if literal is not None else None
        return place in self._allow and not is_public(place[0]) if place else False

    def open_socket(self, info: Any) -> socket.socket:
        """Return an unconnected socket for one `getaddrinfo` row, checked: aiohttp's `socket_factory`."""
        family, kind, protocol, _, place = info
        self.check(place[0], place[1])
        return socket.socket(family, kind, protocol)


class CheckedResolver(AbstractResolver):
    """Names to addresses: `hosts` first, then DNS; a name with any refused address is refused whole."""

    def __init__(self, policy: AddressPolicy, dns: AbstractResolver):
        self._policy, self._dns = policy, dns

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the checked addresses of a name; AddressRefusedError if one of them is forbidden."""
        place = self._policy.mapped(host)
        rows = [_row(host, *place)] if place else await self._dns.resolve(host, port, family)
        for row in rows:
            self._policy.check(row["host"], row["port"])
        return rows

    async def close(self) -> None:
        """Close the resolver behind."""
        await self._dns.close()


def is_public(address: Address) -> bool:
    """Tell whether an address belongs to the public internet, and every IPv4 address inside it too."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _DENIED_V4)
    inner = list(_embedded(address))
    if inner:
        return all(is_public(one) for one in inner)
    return address in _PUBLIC_V6 and not any(address in network for network in _DENIED_V6)


def as_address(host: str) -> Address | None:
    """Return a host as an address if it is a literal one."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def endpoint(text: str) -> tuple[Address, int]:
    """Return the address and port of `127.0.0.1:8000` or `[::1]:8000`; ValueError says what is wrong."""
    host, _, port = text.rpartition(":")
    address = as_address(host)
    if address is None or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not an address and a port; write for example 127.0.0.1:8000")
    return address, int(port)


def _embedded(address: ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address]:
    for network, below in _EMBEDDED:
        if address in network:
            yield ipaddress.IPv4Address(int(address) >> below & 0xFFFFFFFF)


def _row(host: str, address: Address, port: int) -> ResolveResult:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=str(address), port=port, family=family, proto=0, flags=flags)
