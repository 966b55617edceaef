import socket
import sys
from pathlib import Path

import pytest

from launch import address

NOBODYS = "192.0.2.1"  # of documentation


def test_a_name_is_resolved_or_refused_with_what_to_do() -> None:
    assert address.resolved("127.0.0.1") == ["127.0.0.1"]
    with pytest.raises(ValueError, match=r"endpoint: no-such\.invalid does not resolve on this node .*hosts"):
        address.resolved_or_refused("no-such.invalid", "endpoint")


def test_addresses_of_this_node_are_told_from_others() -> None:
    assert address.is_ours("127.0.0.1") and address.is_loopback("127.0.0.1")
    assert not address.is_ours(NOBODYS) and not address.is_loopback(NOBODYS)


def test_a_port_is_free_until_somebody_listens_on_it() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        other.listen()
        assert not address.is_free("127.0.0.1", port)
    assert address.is_free("127.0.0.1", port)


def test_the_way_to_this_node_itself_leads_over_its_own_interface() -> None:
    assert address.toward("127.0.0.1") == "127.0.0.1"
    if Path("/sys/class/net/lo").exists():
        assert address.interface_of("127.0.0.1") == "lo"
    assert address.interface_of(NOBODYS) is None


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="wants Linux's /proc")
def test_who_listens_on_a_port_is_told_by_its_command() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        other.listen()
        assert sys.executable in address.listener(port)
    assert address.listener(port) == ""
