import json
from pathlib import Path

import pytest
from backports import zstd

from pipeline.errors import FormatError
from pipeline.formats.results import RecordLog, Result, Results, read_records, write_records

RESULT = Result(
    task="held_out",
    metric="loss",
    value=3.25,
    stderr=0.5,
    num_examples=7,
    dtype="fp32",
    data_sha256="ab",
    protocol="context 256",
)
RESULTS = Results(checkpoint="runs/x", weights_hash="cd", origin={"seconds": 1.0}, results=(RESULT,))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    RESULTS.write(tmp_path / "suite.json")

    assert Results.read(tmp_path / "suite.json") == RESULTS


def test_the_file_is_laid_out_as_promised(tmp_path: Path) -> None:
    RESULTS.write(tmp_path / "suite.json")
    written = json.loads((tmp_path / "suite.json").read_text())

    assert set(written) == {"format", "checkpoint", "weights_hash", "origin", "results"}
    assert written["format"] == 1
    assert written["results"] == [
        {
            "task": "held_out",
            "metric": "loss",
            "value": 3.25,
            "stderr": 0.5,
            "num_examples": 7,
            "subset": "all",
            "dtype": "fp32",
            "data_sha256": "ab",
            "protocol": "context 256",
            "paper": {},
        }
    ]


@pytest.mark.parametrize(
    "content", ['{"format": 2}', "[]", '{"format": 1}', '{"format": 1, "results": [{}]}', "{"]
)
def test_another_format_is_refused_by_name(content: str, tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    path.write_text(content)

    with pytest.raises(FormatError, match=r"suite\.json"):
        Results.read(path)


def test_records_are_one_frame_that_any_reader_of_json_lines_takes(tmp_path: Path) -> None:
    records = [{"number": n, "text": "é\n"} for n in range(3)]
    write_records(tmp_path / "task.jsonl.zst", records)

    with zstd.open(tmp_path / "task.jsonl.zst", "rt", encoding="utf-8") as lines:
        assert [json.loads(line) for line in lines] == records
    assert read_records(tmp_path / "task.jsonl.zst") == records


def test_records_cut_off_or_changed_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "task.jsonl.zst"
    write_records(path, [{"number": n} for n in range(100)])
    whole = path.read_bytes()

    for damaged in (whole[:-3], whole[:20] + b"\x00" + whole[21:]):
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match=r"task\.jsonl\.zst"):
            read_records(path)


@pytest.mark.parametrize("torn", [1, 5, 12])
def test_a_log_goes_on_after_its_last_whole_append(torn: int, tmp_path: Path) -> None:
    path = tmp_path / "way" / "task.jsonl.zst"
    log = RecordLog(path)
    log.append([{"number": 0}, {"number": 1}])
    log.append([{"number": 2}])
    path.write_bytes(path.read_bytes()[:-torn])

    again = RecordLog(path)
    again.append([{"number": 3}])

    assert again.records == RecordLog(path).records == [{"number": 0}, {"number": 1}, {"number": 3}]


def test_a_log_that_was_never_begun_is_empty(tmp_path: Path) -> None:
    assert RecordLog(tmp_path / "none").records == []
