from pathlib import Path

import pytest

from pipeline.quickstart import road


def test_a_failed_command_ends_the_road_with_its_name_and_code(tmp_path: Path) -> None:
    walked = road._Road(tmp_path)

    with pytest.raises(road.StageError, match=r"`loglinear ls filtres` ended with exit code 2") as failure:
        walked.command("ls", "filtres")

    assert failure.value.exit_code == 2


def test_a_skipped_command_is_noted_but_not_run(tmp_path: Path) -> None:
    walked = road._Road(tmp_path)

    walked.command("train", tmp_path / "missing.yaml", skip=True)

    assert walked.commands == [f"loglinear train {tmp_path}/missing.yaml"]
