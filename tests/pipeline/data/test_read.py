"""Documents of one's own, in every form, come out as extraction's do; what is broken is counted and named."""

import bz2
import gzip
import lzma
import sys
from pathlib import Path

import orjson
import pytest

from pipeline.data import read
from pipeline.data.documents import document_files, read_documents
from pipeline.data.extract import document_id
from pipeline.data.readers import jsonl
from pipeline.data.readers.jsonl import Config as Jsonl
from pipeline.data.readers.text import Config as Plain
from pipeline.errors import ConfigError, StageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACKERS = {"": bytes, ".gz": gzip.compress, ".zst": zstd.compress, ".xz": lzma.compress, ".bz2": bz2.compress}
LENIENT = Jsonl(max_lost=1)


def lines(count: int) -> bytes:
    rows = ({"text": f"Text {number} of rivers.", "url": f"http://a.org/{number}"} for number in range(count))
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def documents(folder: Path) -> list:
    return [document for file in document_files(folder / "documents") for document in read_documents(file)]


def texts(folder: Path) -> list[str]:
    return [document.text for document in documents(folder)]


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_line_becomes_a_document_as_extraction_makes_them(tmp_path: Path, phase):
    row = {
        "text": "A\u00a0text.  \r\n\n\n\nEnd",
        "url": "HTTP://News.BBC.co.uk:80/x?utm_source=y#z",
        "karma": 7,
    }
    row |= {"date": "2020-01-02", "language": "en", "language_score": 0.5, "token_count": 3}
    file = write(tmp_path / "mine.jsonl", orjson.dumps(row))

    counts = read.run(Jsonl(), [file], phase("read"))

    (document,) = documents(tmp_path)
    canonical_url = "http://news.bbc.co.uk/x"
    assert document.text == "A text.\n\nEnd"
    assert document.id == document_id(canonical_url)
    assert document.metadata == {
        "url": "HTTP://News.BBC.co.uk:80/x?utm_source=y#z",
        "canonical_url": canonical_url,
        "domain": "bbc.co.uk",
        "karma": 7,
        "karma_sum": 7,
        "fetched": "2020-01-02",
        "language": "en",
        "language_score": 0.5,
    }
    assert (counts.documents_in, counts.documents_out) == (1, 1)


def test_documents_of_datatrove_are_read_with_their_metadata(tmp_path: Path, phase):
    row = {"text": "A text.", "id": "x", "metadata": {"url": "http://a.org/1", "karma": 4, "karma_sum": 9}}

    read.run(Jsonl(), [write(tmp_path / "mine.jsonl", orjson.dumps(row))], phase("read"))

    (document,) = documents(tmp_path)
    assert (document.metadata["canonical_url"], document.metadata["karma_sum"]) == ("http://a.org/1", 9)


def test_a_text_may_be_kept_as_it_is(tmp_path: Path, phase):
    file = write(tmp_path / "mine.jsonl", orjson.dumps({"text": "a \r\n\n\n\n\tb "}))

    read.run(Jsonl(tidy=False), [file], phase("read"))

    assert texts(tmp_path) == ["a \r\n\n\n\n\tb "]


def test_a_document_without_address_is_named_by_its_place_below_the_inputs(tmp_path: Path, phase):
    first, second = b'{"text": "one"}\n', b'{"text": "two", "id": 17}\n{"text": "three"}\n'
    files = [write(tmp_path / "in" / "a" / "x.jsonl", first), write(tmp_path / "in" / "b.jsonl", second)]

    read.run(Jsonl(), files, phase("read"))

    names = {document.text: document.metadata["canonical_url"] for document in documents(tmp_path)}
    assert names == {
        "one": "file:a/x.jsonl#byte=0",
        "two": "file:b.jsonl#id=17",
        "three": f"file:b.jsonl#byte={second.index(b'three') - 10}",
    }
    assert {document.metadata["domain"] for document in documents(tmp_path)} == {"file"}


@pytest.mark.parametrize("suffix", PACKERS)
def test_every_packing_gives_the_same_documents(suffix: str, tmp_path: Path, phase):
    file = write(tmp_path / f"mine.jsonl{suffix}", PACKERS[suffix](lines(50)))

    read.run(Jsonl(), [file], phase("read"))

    assert sorted(texts(tmp_path)) == sorted(f"Text {number} of rivers." for number in range(50))


@pytest.mark.parametrize("slice_bytes", [1, 55, 60, 999])
def test_slices_of_a_plain_file_give_each_line_once(slice_bytes: int, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(jsonl, "SLICE_BYTES", slice_bytes)
    file = write(tmp_path / "mine.jsonl", lines(30))

    slices = Jsonl().slices([file])

    assert len(slices) == -(-file.stat().st_size // slice_bytes)
    found = [document.text for each in slices for document in each()]
    assert found == [f"Text {number} of rivers." for number in range(30)]


def test_workers_cannot_be_seen_in_what_was_read(tmp_path: Path, phase, monkeypatch):
    monkeypatch.setattr(jsonl, "SLICE_BYTES", 500)
    file = write(tmp_path / "mine.jsonl", lines(40))
    contents = []
    for workers in (1, 2):
        read.run(Jsonl(), [file], phase("read", workers=workers))
        found = document_files(tmp_path / "documents")
        contents.append({path.name: path.read_bytes() for path in found})

    assert contents[0] == contents[1]
    assert len(contents[0]) > 3


def test_one_packed_file_becomes_many_files_of_documents(tmp_path: Path, phase, monkeypatch):
    monkeypatch.setattr(read, "FILE_BYTES", 200)
    file = write(tmp_path / "mine.jsonl.zst", zstd.compress(lines(40)))

    counts = read.run(Jsonl(), [file], phase("read"))

    assert texts(tmp_path) == [f"Text {number} of rivers." for number in range(40)]
    assert len(document_files(tmp_path / "documents")) == pytest.approx(
        counts.extra["bytes_out"] / 200, abs=1
    )


BROKEN_LINES = {
    "broken-json": b'{"text": "cut',
    "invalid-utf-8": b'{"text": "\xff"}',
    "not-an-object": b'["text"]',
    "no-text": b'{"text": null}',
    "text-not-a-string": b'{"text": 12}',
    "empty": b'{"text": " \\u0000 "}',
    "broken-json ": b'{"text": "x", "score": NaN}',
    "broken-json  ": b'{"text": "\\ud800"}',
    "broken-json   ": b"[" * 100_000,
    "line-too-long": b'{"text": "' + b"x" * (10 << 20) + b'"}',
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_broken_line_costs_itself_alone_and_is_counted(suffix: str, tmp_path: Path, phase):
    content = b"".join(line + b"\r\n" + lines(1) for line in BROKEN_LINES.values())
    file = write(tmp_path / f"mine.jsonl{suffix}", PACKERS[suffix](content))

    counts = read.run(LENIENT, [file], phase("read"))

    reasons = [reason.strip() for reason in BROKEN_LINES]
    assert counts.dropped == {reason: reasons.count(reason) for reason in reasons}
    assert counts.documents_out == len(BROKEN_LINES)
    counts.check("read")
    samples = [each for path in document_files(tmp_path / "dropped") for each in read_documents(path)]
    assert len(samples) == len(BROKEN_LINES)
    assert all(sample.metadata["canonical_url"].startswith("file:mine.jsonl") for sample in samples)


def test_a_mark_of_byte_order_a_blank_line_and_a_missing_line_end_are_no_faults(tmp_path: Path, phase):
    file = write(tmp_path / "mine.jsonl", b'\xef\xbb\xbf{"text": "one"}\n\n \n{"text": "two"}')

    counts = read.run(Jsonl(), [file], phase("read"))

    assert (texts(tmp_path), counts.dropped) == (["one", "two"], {})


@pytest.mark.parametrize("suffix", [suffix for suffix in PACKERS if suffix])
def test_a_packed_file_that_was_cut_off_is_noticed(suffix: str, tmp_path: Path, phase):
    packed = PACKERS[suffix](lines(1000) + bytes(range(256)) * 40)
    file = write(tmp_path / f"mine.jsonl{suffix}", packed[: len(packed) - 20])

    counts = read.run(LENIENT, [file], phase("read"))

    assert counts.dropped["damaged-file"] == 1
    sample = next(read_documents(next((tmp_path / "dropped").rglob("damaged-file/*"))))
    assert str(file) in sample.metadata["detail"]


def test_an_empty_file_holds_no_documents(tmp_path: Path, phase):
    files = [write(tmp_path / "a.jsonl", b""), write(tmp_path / "b.jsonl", lines(2))]

    assert read.run(Jsonl(), files, phase("read")).documents_in == 2


def test_a_wrong_key_is_an_error_that_says_what_is_there(tmp_path: Path, phase):
    file = write(tmp_path / "mine.jsonl", b'{"content": "text"}\n' * 3)

    with pytest.raises(StageError, match="3 of 3 documents could not be read .no-text 3."):
        read.run(Jsonl(), [file], phase("read"))

    sample = next(read_documents(next((tmp_path / "dropped").rglob("no-text/*"))))
    assert sample.metadata["detail"] == "no text in ['content']"


def test_samples_of_what_is_broken_are_few(tmp_path: Path, phase, monkeypatch):
    monkeypatch.setattr(read, "SAMPLES", 2)
    file = write(tmp_path / "mine.jsonl", b"?\n" * 10)

    counts = read.run(LENIENT, [file], phase("read"))

    assert counts.dropped == {"broken-json": 10}
    (path,) = document_files(tmp_path / "dropped")
    assert len(list(read_documents(path))) == 2


def test_nothing_to_read_is_a_fault_of_the_configuration(phase):
    with pytest.raises(ConfigError, match="read: nothing to read"):
        read.run(Jsonl(), [], phase("read"))


def test_a_text_file_is_a_document_named_by_its_path(tmp_path: Path, phase):
    files = [
        write(tmp_path / "books" / "a" / "One.txt", "\ufeffChapter 1\r\n\r\nIt begins."),
        write(tmp_path / "books" / "Two.txt.gz", gzip.compress(b"Another.")),
    ]

    read.run(Plain(), files, phase("read"))

    found = {document.metadata["canonical_url"]: document.text for document in documents(tmp_path)}
    assert found == {"file:a/One.txt": "Chapter 1\n\nIt begins.", "file:Two.txt.gz": "Another."}


@pytest.mark.parametrize(("separator", "line"), [("", " "), ("<|endoftext|>", "<|endoftext|>")])
def test_a_separator_line_stands_between_documents(separator: str, line: str, tmp_path: Path, phase):
    content = f"one\ntwo\r\n{line}\r\n{line}\nthree\n{line}\n"
    file = write(tmp_path / "mine.txt", content)

    read.run(Plain(separator=separator), [file], phase("read"))

    found = {document.metadata["canonical_url"]: document.text for document in documents(tmp_path)}
    assert found == {"file:mine.txt#line=1": "one\ntwo", "file:mine.txt#line=5": "three"}


def test_text_in_another_encoding_is_counted_or_declared(tmp_path: Path, phase):
    file = write(tmp_path / "mine.txt", "Café\n\nnoir".encode("latin-1"))

    counts = read.run(Plain(separator="", max_lost=1), [file], phase("read"))
    assert (counts.dropped, texts(tmp_path)) == ({"wrong-encoding": 1}, ["noir"])

    read.run(Plain(separator="", encoding="latin-1"), [file], phase("read", workers=2))
    assert texts(tmp_path) == ["Café", "noir"]


def test_an_unknown_encoding_is_refused():
    with pytest.raises(ValueError, match="no encoding 'utf-9'"):
        Plain(encoding="utf-9")
