import pytest

from launch import environment


def test_a_lone_process_is_the_first_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)

    assert (environment.rank(), environment.local_rank(), environment.world_size()) == (0, 0, 1)
    assert environment.restart_count() == 0
    assert environment.available_cpus() >= 1


def test_a_process_of_torchrun_reads_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "TORCHELASTIC_RESTART_COUNT": "2"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)

    assert (environment.rank(), environment.local_rank(), environment.world_size()) == (3, 1, 4)
    assert environment.restart_count() == 2


def test_a_node_is_named_by_its_host_and_by_its_number_where_it_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NODE_RANK", raising=False)
    alone = environment.node_name()
    monkeypatch.setenv("NODE_RANK", "3")

    assert environment.node_rank() == 3
    assert environment.node_name() == f"{alone}-3"
