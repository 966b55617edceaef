from pathlib import Path

import pytest

from pipeline.data.documents import (
    ReadDocuments,
    TaskOutput,
    WriteDocuments,
    document_files,
    merged_counts,
    read_documents,
    writing_documents,
)
from pipeline.errors import FormatError
from tests.pipeline.data.conftest import document, write_files

TEXTS = ["plain", "two\nlines and \N{SNOWMAN}", 'quotes " and \\ and \u2028', "<|endoftext|>"]


def test_documents_come_back_as_they_were_written(tmp_path: Path):
    written = [document(f"{number}", text) for number, text in enumerate(TEXTS)]
    write_files(tmp_path, {"00000": written})

    read = list(read_documents(tmp_path / "00000.jsonl.zst"))

    assert [(each.id, each.text, each.metadata) for each in read] == [
        (each.id, each.text, each.metadata) for each in written
    ]


def test_no_documents_are_a_whole_file_too(tmp_path: Path):
    write_files(tmp_path, {"00000": []})

    assert list(read_documents(tmp_path / "00000.jsonl.zst")) == []


def test_datatrove_reads_our_files(tmp_path: Path):
    from datatrove.pipeline.readers.jsonl import JsonlReader

    write_files(tmp_path, {"00000": [document("a", "one"), document("b", "two")]})

    assert [each.text for each in JsonlReader(str(tmp_path))()] == ["one", "two"]


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_file_that_was_cut_off_is_refused_by_name(tmp_path: Path, share: float):
    write_files(tmp_path, {"00000": [document(f"{n}", f"text {n * 7919}") for n in range(500)]})
    path = tmp_path / "00000.jsonl.zst"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    with pytest.raises(FormatError, match="00000.jsonl.zst"):
        list(read_documents(path))


def test_a_flipped_bit_is_noticed(tmp_path: Path):
    write_files(tmp_path, {"00000": [document(f"{n}", f"text {n * 7919}") for n in range(500)]})
    path = tmp_path / "00000.jsonl.zst"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(FormatError, match="00000.jsonl.zst"):
        list(read_documents(path))


def test_a_line_that_is_no_document_is_named_by_its_number(tmp_path: Path):
    with writing_documents(tmp_path / "x.jsonl.zst") as file:
        file.write(b'{"text":"fine","id":"1","metadata":{}}\n[]\n')

    with pytest.raises(FormatError, match=r"x\.jsonl\.zst:3"):
        list(read_documents(tmp_path / "x.jsonl.zst"))


def output_in(folder: Path) -> TaskOutput:
    return TaskOutput(folder / "kept", folder / "dropped", folder / "counts")


def test_a_task_accounts_for_all_it_read(tmp_path: Path):
    write_files(
        tmp_path / "in", {"00000": [document("a", "good"), document("b", "bad"), document("c", "good")]}
    )
    output = output_in(tmp_path)

    def judge(data, rank, world_size):
        for each in data:
            if each.text == "bad":
                output.drop(each, "badness")
            else:
                yield each

    files = document_files(tmp_path / "in")
    WriteDocuments(output)(judge(ReadDocuments(files, output)(None, 0, 1), 0, 1), 0, 1)

    counts = merged_counts(tmp_path / "counts", 1)
    assert (counts.documents_in, counts.documents_out, counts.dropped) == (3, 2, {"badness": 1})
    [dropped] = read_documents(tmp_path / "dropped" / "badness" / "00000.jsonl.zst")
    assert dropped.metadata["dropped_because"] == "badness"


def test_a_task_that_fails_leaves_nothing(tmp_path: Path):
    def failing():
        yield document("a", "text")
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError):
        WriteDocuments(output_in(tmp_path))(failing(), 0, 1)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
