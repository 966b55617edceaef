from pathlib import Path

import yaml

from pipeline.config import plain
from pipeline.data.datasheet import _execution, _overlap, escaped, table
from pipeline.data.execute import ExecuteConfig


def test_a_page_cannot_add_markup_to_the_datasheet():
    text = escaped("<script>alert(1)</script> [x](javascript:y) | `code`\n# Title")

    assert "<" not in text
    assert "\n" not in text
    assert "\\[x\\]\\(javascript" in text
    assert "\\|" in text
    assert "\\#" in text


def test_a_table_has_a_row_for_each_record():
    lines = table(("name", "number"), [("a|b", 12345), ("c", 0.5)])

    assert lines == ["| name | number |", "| --- | ---: |", "| a\\|b | 12,345 |", "| c | 0.50 |"]


def test_overlap_has_a_column_for_each_measurement_that_was_made():
    full = {"ngrams": 900, "percent_own_training": 1.5, "percent_before": 3.25, "percent_after": 0.0}
    phases = [{"extra": {}}, {"extra": {"overlap": {"lambada": full, "test": {**full, "ngrams": 7}}}}]

    (lines,) = _overlap(phases)

    assert (
        lines[2]
        == "| held out | n-grams | in its own training text, % | in train before, % | in train after, % |"
    )
    assert lines[4] == "| lambada | 900 | 1.50 | 3.25 | 0.00 |"
    assert list(_overlap([{"extra": {}}])) == []


def test_the_executor_is_told_as_it_was_configured(tmp_path: Path):
    execute = ExecuteConfig(executor={"kind": "slurm", "partition": "cpu"}, workers=200)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"execute": plain(execute)}))

    lines = _execution(tmp_path)

    assert "| kind | slurm |" in lines
    assert "| workers | 200 |" in lines
    assert not any("qos" in line for line in lines)
