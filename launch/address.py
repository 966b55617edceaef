"""How other nodes reach this one, also where its own name leads only to itself (containers, 127.0.1.1)."""

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

_SIOCGIFADDR = 0x8915  # asks Linux for an interface's IPv4 address
_NAME_BYTES = 16
_LISTENS = "0A"  # a state in /proc/net/tcp


def resolved(host: str) -> list[str]:
    """Return the addresses of a name; OSError where it has none."""
    return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)})


def resolved_or_refused(host: str, key: str) -> list[str]:
    """Return the addresses of a host that a configuration names under `key`; ValueError with the remedy."""
    try:
        return resolved(host)
    except OSError as fault:
        raise ValueError(
            f"{key}: {host} does not resolve on this node ({fault.strerror}); write its address instead"
            " of its name, or enter it in /etc/hosts here"
        ) from None


def is_loopback(address: str) -> bool:
    """Tell whether an address means each node itself."""
    return address.startswith("127.") or address == "::1"


def is_ours(address: str) -> bool:
    """Tell whether an address is one of this node's."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def is_free(address: str, port: int) -> bool:
    """Tell whether a port of one of this node's addresses can be listened on."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the job's own listener will
        try:
            probe.bind((address, port))
            probe.listen()
        except OSError:
            return False
    return True


def listener(port: int) -> str:
    """Return the command of the process that listens on a port of this node; nothing where none is seen.

    A process of another user is not seen, nor any without Linux's /proc.
    """
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    for folder in Path("/proc").glob("[0-9]*/fd") if sockets else ():
        with contextlib.suppress(OSError):
            if any(str(link.readlink()) in sockets for link in folder.iterdir()):
                return (folder.parent / "cmdline").read_text().replace("\0", " ").strip()
    return ""


def is_named() -> bool:
    """Tell whether this node's own name is that of an address which others can reach."""
    try:
        return not all(map(is_loopback, resolved(socket.gethostname())))
    except OSError:
        return False


def toward(address: str) -> str:
    """Return this node's address on the way to another one; OSError where there is no way."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))  # only looks up the route; nothing is sent
        return str(probe.getsockname()[0])


def interface_of(address: str) -> str | None:
    """Return the name of the interface that has an IPv4 address; None where none is found."""
    try:
        import fcntl
    except ImportError:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            request = struct.pack(f"{_NAME_BYTES}s{_NAME_BYTES}x", name.encode()[: _NAME_BYTES - 1])
            with contextlib.suppress(OSError):  # it has no address
                answer = fcntl.ioctl(asking, _SIOCGIFADDR, request)
                if socket.inet_ntoa(answer[20:24]) == address:
                    return name
    return None


def _listening(port: int) -> Iterator[str]:
    """Yield the inodes of the sockets that listen on a port, as proc_net_tcp(5) has them."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if state == _LISTENS and int(local.rpartition(":")[2], 16) == port:
                    yield rest[5]
