"""Where a dataset comes from: which phases there are, and what changed inputs make undone."""

import os
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.data import stage
from pipeline.data.documents import document_files, read_documents
from pipeline.data.stage import Config
from pipeline.errors import ConfigError
from pipeline.formats.manifest import Manifest
from tests.pipeline.data.conftest import write_warc
from tests.pipeline.data.test_stage import build, hashes, page, prepared

WARC = """
out: {out}
paths: ["{warcs}"]
extract: {{kind: resiliparse}}
dedup: {{paragraphs: {{min_words_left: 20}}}}
splits: {{validation: 0.15, test: 0.15}}
decontaminate: {{min_words_left: 20}}
tokenizer: {{kind: train, vocab_size: 300}}
execute: {{workers: 1}}
"""


@pytest.fixture
def warc(tmp_path: Path) -> Path:
    """Return a configuration that starts from a WARC file of 20 pages."""
    write_warc(tmp_path / "in" / "0.warc.gz", {f"http://example.org/{n}": page(n) for n in range(20)})
    path = tmp_path / "warc.yaml"
    path.write_text(WARC.format(out=tmp_path / "d", warcs=tmp_path / "in" / "*.warc.gz"))
    return path


def done(path: Path, *overrides: str) -> list[str]:
    return [phase.name for phase in stage.plan(load(Config, path, overrides)).phases if phase.mark]


def test_warc_files_start_at_extraction_and_leave_a_document_with_its_url_for_each_page(
    warc: Path, tmp_path: Path
):
    build(warc, until="extract")

    documents = [
        each for file in document_files(tmp_path / "d" / "documents") for each in read_documents(file)
    ]
    assert {each.metadata["url"] for each in documents} == {f"http://example.org/{n}" for n in range(20)}
    assert done(warc) == ["extract"]

    build(warc)
    Manifest.read(tmp_path / "d").check(tmp_path / "d")


def test_a_new_input_file_makes_the_phase_that_reads_it_undone(warc: Path, tmp_path: Path):
    build(warc, until="dedup")
    write_warc(tmp_path / "in" / "1.warc.gz", {f"http://example.org/{n}": page(n) for n in range(20, 25)})

    assert done(warc) == []
    build(warc, until="extract")
    files = document_files(tmp_path / "d" / "documents")
    assert sum(1 for file in files for _ in read_documents(file)) == 25


def test_an_input_that_is_gone_changes_nothing(warc: Path, tmp_path: Path):
    build(warc)
    before = hashes(tmp_path / "d")
    (tmp_path / "in" / "0.warc.gz").unlink()

    build(warc)

    assert hashes(tmp_path / "d") == before
    assert len(done(warc)) == 5


def test_a_missing_input_is_named_when_its_phase_runs(warc: Path, tmp_path: Path):
    (tmp_path / "in" / "0.warc.gz").unlink()

    stage.plan(load(Config, warc))  # a dry run may look ahead
    with pytest.raises(ConfigError, match=r"paths: .*\*\.warc\.gz: no such file"):
        build(warc)


def test_a_take_down_request_makes_only_the_phases_after_the_filters_anew(tmp_path: Path):
    path = prepared(tmp_path / "d")
    requests = tmp_path / "requests.txt"
    requests.write_text("http://example.org/7\n")
    build(path)
    filtered = [file.stat().st_ino for file in document_files(tmp_path / "d" / "kept" / "filter")]
    before = hashes(tmp_path / "d")

    assert done(path, f"remove={requests}")[-1] == "filter"
    build(path, f"remove={requests}")

    assert hashes(tmp_path / "d") != before
    assert [file.stat().st_ino for file in document_files(tmp_path / "d" / "kept" / "filter")] == filtered
    rows = {row["name"]: row for row in Manifest.read(tmp_path / "d").phases}
    assert rows["remove"]["dropped"] == {"url": 1}
    requests.write_text("http://example.org/7\nhttp://example.org/8\n")
    assert done(path, f"remove={requests}")[-1] == "filter"
    with pytest.raises(ConfigError, match="take-down requests stay in force"):
        build(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["paths=[]"], "`extract` wants pages"),
        (["extract=null"], "no source"),
        (["fetch={}"], "want `links`"),
        (["links={inputs: [x]}"], "want `fetch` or `commoncrawl`"),
        (["links={inputs: [x]}", "fetch={}"], "two sources"),
        (["read={kind: jsonl}"], "give one of both"),
    ],
)
def test_a_source_that_is_none_or_two_is_refused(warc: Path, changes: list[str], said: str):
    with pytest.raises(ConfigError, match=said):
        load(Config, warc, changes)


def test_an_edited_list_of_a_filter_or_phase_is_an_input_too(tmp_path: Path):
    path = prepared(tmp_path / "d")
    blocked = tmp_path / "blocked.yaml"
    blocked.write_text("domains: [a.example]\n")
    (tmp_path / "links.txt").write_text("http://example.org/0\n")
    changes = (f"links.blocklists=[{blocked}]", f"links.inputs=[{tmp_path / 'links.txt'}]")
    build(path, *changes, until="links")
    assert done(path, *changes) == ["links"]

    os.truncate(blocked, 0)

    assert done(path, *changes) == []
