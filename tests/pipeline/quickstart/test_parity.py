import json
from pathlib import Path

import pytest

from pipeline.errors import StageError
from pipeline.formats.publish import read_json
from pipeline.quickstart import parity


def losses(folder: Path, name: str, values: list[float]) -> None:
    (folder / name).mkdir(parents=True)
    rows = [{"step": step, "loss": loss} for step, loss in enumerate(values, 1)] + [
        {"step": len(values), "validation_loss": 1}
    ]
    (folder / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_largest_difference_is_found_and_kept(tmp_path: Path) -> None:
    losses(tmp_path, parity.SINGLE, [3.0, 2.0, 1.0])
    losses(tmp_path, parity.ZERO, [3.0, 2.25, 1.125])

    assert "3 steps" in parity.compare(tmp_path, tmp_path / parity.NAME)
    told = read_json(tmp_path / parity.NAME)
    assert (told["steps"], told["largest_difference"]) == (3, 0.25)
    assert told[parity.ZERO] == [3.0, 2.25, 1.125]


def test_runs_of_different_lengths_are_not_compared(tmp_path: Path) -> None:
    losses(tmp_path, parity.SINGLE, [3.0, 2.0])
    losses(tmp_path, parity.ZERO, [3.0])

    with pytest.raises(StageError, match="2 steps against 1"):
        parity.compare(tmp_path, tmp_path / parity.NAME)
