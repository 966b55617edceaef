import time
from pathlib import Path

from pipeline.quickstart.machine import Legs, describe


def test_a_leg_that_was_killed_adds_up(tmp_path: Path) -> None:
    for _ in range(2):
        with Legs(tmp_path / "legs.json").measured("data"):
            time.sleep(0.05)

    assert 0.1 <= Legs(tmp_path / "legs.json").records["data"]["seconds"] < 5


def test_the_peak_covers_what_is_held_for_a_moment(tmp_path: Path) -> None:
    legs = Legs(tmp_path / "legs.json")

    with legs.measured("data"):
        held = bytearray(200 * 2**20)
        time.sleep(1.2)
    assert legs.records["data"]["peak_memory_bytes"] > len(held)


def test_the_environment_names_machine_versions_and_legs(tmp_path: Path) -> None:
    legs = Legs(tmp_path / "legs.json")
    with legs.measured("data"):
        pass

    told = describe(legs)

    assert told["machine"]["cpus"] >= 1
    assert "torch" in told["versions"]
    assert [stage["name"] for stage in told["stages"]] == ["data"]
