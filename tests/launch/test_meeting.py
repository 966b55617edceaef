import socket

import pytest

from launch import meeting


def record(rank: int, **versions: str) -> dict[str, object]:
    return {"rank": rank, "node": f"node-{rank}", "versions": versions}


def test_ranks_with_the_same_versions_do_not_differ() -> None:
    assert meeting.difference(record(0, torch="2"), [record(0, torch="2"), record(1, torch="2")]) == ""


def test_versions_that_differ_are_told_with_their_ranks() -> None:
    told = meeting.difference(record(0, torch="2", python="3.11"), [record(1, torch="1", python="3.11")])

    assert told.startswith("torch 2 on rank 0 (node-0) but 1 on rank 1 (node-1): install the same")


def test_a_rank_of_an_older_package_notes_no_versions() -> None:
    assert "but an older one on rank 1" in meeting.difference(
        record(0, torch="2"), [{"rank": 1, "node": "node-1"}]
    )


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MASTER_PORT", str(probe.getsockname()[1]))
    return monkeypatch


def test_nothing_is_in_the_way_of_a_free_port_of_this_node(master: pytest.MonkeyPatch) -> None:
    assert (meeting.obstacle(0), meeting.obstacle(1)) == ("", "")


def test_a_port_that_is_taken_is_the_first_ranks_to_tell(master: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        master.setenv("MASTER_PORT", str(other.getsockname()[1]))

        assert "is taken on" in meeting.obstacle(0)
        assert meeting.obstacle(1) == ""


def test_an_address_that_is_not_the_first_ranks_is_told(master: pytest.MonkeyPatch) -> None:
    master.setenv("MASTER_ADDR", "192.0.2.1")
    assert "192.0.2.1 is no address of" in meeting.obstacle(0)


def test_a_name_that_does_not_resolve_is_told_by_every_rank(master: pytest.MonkeyPatch) -> None:
    master.setenv("MASTER_ADDR", "no-such.invalid")
    assert "does not resolve" in meeting.obstacle(3)


def test_ranks_of_torchrun_have_met_already(master: pytest.MonkeyPatch) -> None:
    master.setenv("MASTER_ADDR", "no-such.invalid")
    master.setenv("TORCHELASTIC_RUN_ID", "x")
    assert meeting.obstacle(0) == ""


def test_gloo_is_told_nothing_where_the_ranks_meet_on_one_node(master: pytest.MonkeyPatch) -> None:
    assert meeting.for_gloo() == {}
