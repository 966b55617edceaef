"""Tables of documents: Parquet files, and what the library `datasets` finds."""

from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data import read
from pipeline.data.documents import document_files, read_documents
from pipeline.data.readers import datasets as datasets_kind
from pipeline.data.readers import parquet
from pipeline.data.readers.datasets import Config as Datasets
from pipeline.data.readers.parquet import Config as Parquet
from pipeline.errors import ConfigError, FormatError

FINEWEB = {
    "text": [f"Text {number} of rivers." for number in range(20)],
    "id": [f"<urn:uuid:{number}>" for number in range(20)],
    "dump": ["CC-MAIN-2013-20"] * 20,
    "url": [f"http://a.org/{number}" for number in range(20)],
    "date": ["2013-05-18T05:48:54Z"] * 20,
    "file_path": ["s3://x"] * 20,
    "language": ["en"] * 20,
    "language_score": [0.75] * 20,
    "token_count": [5] * 20,
}


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def documents(folder: Path) -> list:
    return [document for file in document_files(folder / "documents") for document in read_documents(file)]


def write(path: Path, columns: dict = FINEWEB, rows: int = 4) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=rows, write_page_checksum=True)
    return path


def test_a_file_of_finewebs_keeps_what_we_know_of_its_columns(tmp_path: Path, phase):
    counts = read.run(Parquet(), [write(tmp_path / "000.parquet")], phase("read"))

    first = documents(tmp_path)[0]
    assert (first.text, first.metadata) == (
        "Text 0 of rivers.",
        {
            "url": "http://a.org/0",
            "canonical_url": "http://a.org/0",
            "domain": "a.org",
            "karma": 0,
            "karma_sum": 0,
            "fetched": "2013-05-18T05:48:54Z",
            "language": "en",
            "language_score": 0.75,
        },
    )
    assert (counts.documents_in, counts.documents_out) == (20, 20)


@pytest.mark.parametrize(("slice_bytes", "slices"), [(1, 5), (1 << 30, 1)])
def test_slices_are_row_groups_and_give_each_row_once(
    slice_bytes: int, slices: int, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(parquet, "SLICE_BYTES", slice_bytes)
    file = write(tmp_path / "mine.parquet", {"text": [f"{number}" for number in range(20)]})

    found = Parquet().slices([file])

    assert len(found) == slices
    names = [(each.text, each.metadata["canonical_url"]) for part in found for each in part()]
    assert names == [(f"{number}", f"file:mine.parquet#row={number}") for number in range(20)]


def test_a_missing_column_names_the_file_and_what_is_there(tmp_path: Path, phase):
    files = [write(tmp_path / "good.parquet"), write(tmp_path / "bad.parquet", {"content": ["x"], "n": [1]})]

    with pytest.raises(
        ConfigError, match=r"bad\.parquet: no column 'text'; set .* one of content, n"
    ) as refused:
        read.run(Parquet(), files, phase("read"))

    assert "good" not in str(refused.value)


def test_a_column_that_is_no_text_is_refused(tmp_path: Path, phase):
    with pytest.raises(ConfigError, match="column 'text' is int64, not text"):
        read.run(Parquet(), [write(tmp_path / "mine.parquet", {"text": [1]})], phase("read"))


def test_a_row_without_text_is_counted(tmp_path: Path, phase):
    file = write(tmp_path / "mine.parquet", {"text": ["one", None, ""]})

    counts = read.run(Parquet(max_lost=1), [file], phase("read"))

    assert (counts.dropped, counts.documents_out) == ({"no-text": 1, "empty": 1}, 1)


def test_a_flipped_bit_in_a_page_is_noticed_and_the_file_named(tmp_path: Path, phase):
    file = write(tmp_path / "mine.parquet", {"text": ["rivers and the sea " * 9] * 9}, rows=9)
    content = bytearray(file.read_bytes())
    content[content.index(b"rivers") + 3] ^= 1
    file.write_bytes(content)

    with pytest.raises(FormatError, match=r"mine\.parquet: damaged after row 0 .*CRC"):
        read.run(Parquet(), [file], phase("read"))


def test_a_file_that_was_cut_off_is_named(tmp_path: Path, phase):
    file = write(tmp_path / "mine.parquet")
    file.write_bytes(file.read_bytes()[:-9])

    with pytest.raises(FormatError, match=r"mine\.parquet: not a whole Parquet file"):
        read.run(Parquet(), [file], phase("read"))


def test_a_folder_that_datasets_wrote_is_read_in_slices(tmp_path: Path, phase, monkeypatch):
    monkeypatch.setattr(datasets_kind, "SLICE_BYTES", 200)
    whole = datasets.Dataset.from_dict({"text": FINEWEB["text"]})
    datasets.DatasetDict({"train": whole, "test": whole.select([0])}).save_to_disk(tmp_path / "rivers")

    read.run(Datasets(name=str(tmp_path / "rivers")), [], phase("read"))

    assert [each.text for each in documents(tmp_path)] == FINEWEB["text"]
    assert len(document_files(tmp_path / "documents")) > 2
    assert documents(tmp_path)[7].metadata["canonical_url"] == "datasets:rivers/train#row=7"


def test_a_selection_is_read_as_it_was_selected(tmp_path: Path, phase):
    whole = datasets.Dataset.from_dict({"text": FINEWEB["text"], "url": FINEWEB["url"]})
    whole.select([9, 3]).save_to_disk(tmp_path / "rivers")

    read.run(Datasets(name=str(tmp_path / "rivers")), [], phase("read"))

    assert [each.metadata["url"] for each in documents(tmp_path)] == ["http://a.org/9", "http://a.org/3"]


def test_a_folder_of_files_is_found_by_its_form_and_cut_by_the_split(tmp_path: Path, phase):
    (tmp_path / "mine").mkdir()
    write(tmp_path / "mine" / "train.parquet")

    read.run(Datasets(name=str(tmp_path / "mine"), split="train[:25%]"), [], phase("read"))

    assert [each.text for each in documents(tmp_path)] == FINEWEB["text"][:5]


def test_a_name_that_is_nowhere_is_a_fault_of_the_configuration(tmp_path: Path, phase):
    with pytest.raises(ConfigError, match="datasets cannot load 'nobody/nothing'"):
        read.run(Datasets(name="nobody/nothing"), [], phase("read"))


def test_a_split_or_a_column_that_is_not_there_is_named(tmp_path: Path, phase):
    one = datasets.Dataset.from_dict({"content": ["x"]})
    datasets.DatasetDict({"train": one}).save_to_disk(tmp_path / "mine")

    with pytest.raises(ConfigError, match="no split 'test'"):
        read.run(Datasets(name=str(tmp_path / "mine"), split="test"), [], phase("read"))
    with pytest.raises(ConfigError, match="no column 'text'; set read.text_key to one of content"):
        read.run(Datasets(name=str(tmp_path / "mine")), [], phase("read"))


def test_paths_beside_a_name_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="remove `paths`"):
        Datasets(name="x").slices([tmp_path])
