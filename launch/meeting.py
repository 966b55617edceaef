"""Whether this rank and the others can meet and work together, before they try."""

import contextlib
import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any

from launch import address


def difference(own: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> str:
    """Return what is to be said where another rank's record notes other versions than this one's."""
    for other in others:
        theirs = other.get("versions", {})  # an older package notes none
        found = [
            f"{name} {version} on rank {own['rank']} ({own['node']}) but {theirs.get(name, 'an older one')}"
            f" on rank {other['rank']} ({other['node']})"
            for name, version in own["versions"].items()
            if theirs.get(name) != version
        ]
        if found:
            return f"{', '.join(found)}: install the same on every node, or share one environment among them"
    return ""


def obstacle(rank: int) -> str:
    """Return why the ranks cannot meet at MASTER_ADDR, as far as this one can tell; or nothing.

    Ranks of torchrun have met by then. Others let the first one listen there, and the rest wait for it.
    """
    host, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
    if not host or not port or "TORCHELASTIC_RUN_ID" in os.environ:
        return ""
    try:
        found = address.resolved_or_refused(host, "MASTER_ADDR")
    except ValueError as fault:
        return str(fault)
    return _obstacle_to_listening(host, found, int(port)) if rank == 0 else ""


def for_gloo() -> dict[str, str]:
    """Return what a rank must tell gloo, which by default gives the others what this node's name leads to."""
    master = os.environ.get("MASTER_ADDR", "")
    if not master or "GLOO_SOCKET_IFNAME" in os.environ or address.is_named():
        return {}
    with contextlib.suppress(OSError):
        found = address.resolved(master)
        is_here = any(map(address.is_loopback, found))
        interface = None if is_here else address.interface_of(address.toward(found[0]))
        if interface:
            return {"GLOO_SOCKET_IFNAME": interface}
    return {}


def _obstacle_to_listening(host: str, found: list[str], port: int) -> str:
    here = socket.gethostname()
    ours = [each for each in found if address.is_ours(each)]
    if not ours:
        return (
            f"MASTER_ADDR: {host} is no address of {here}, where the first rank runs; set master_address to"
            " one of its own (`ip address` there lists them)"
        )
    if not address.is_free(ours[0], port):
        return (
            f"MASTER_PORT: {port} is taken on {here} by another program; set master_port to another one, or"
            f" end that program (ss -ltnp 'sport = :{port}' there names it)"
        )
    return ""
