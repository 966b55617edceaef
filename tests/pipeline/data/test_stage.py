"""The stage from stored pages to the manifest, undisturbed, killed, and asked for something else in the same
place.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.data import stage
from pipeline.data.counts import PhaseCounts
from pipeline.data.documents import document_files, read_documents
from pipeline.data.marks import Mark, fingerprint
from pipeline.data.stage import Config
from pipeline.errors import ConfigError, FormatError, StageError
from pipeline.formats.manifest import Manifest
from tests.pipeline.data.conftest import write_links, write_log, write_warc

NOUNS = [
    "river",
    "hill",
    "boat",
    "lamp",
    "garden",
    "letter",
    "winter",
    "bridge",
    "stone",
    "market",
    "song",
    "glass",
    "road",
    "bell",
    "forest",
    "wheel",
]
VERBS = ["carries", "finds", "leaves", "paints", "keeps", "follows", "hides", "mends", "sells", "remembers"]
PAGES = 40
YAML = """
out: {out}
links: {{inputs: [none.zst]}}
fetch: {{}}
extract: {{kind: resiliparse}}
filters:
  - {{kind: language, min_score: 0.2}}
  - {{kind: gopher_quality, min_stop_words: 1}}
dedup: {{paragraphs: {{min_words_left: 20}}}}
splits: {{validation: 0.15, test: 0.15}}
decontaminate: {{min_words_left: 20}}
tokenizer: {{kind: train, vocab_size: 300}}
execute: {{workers: 1}}
"""


def sentence(chance: random.Random) -> str:
    first, second, third = chance.sample(NOUNS, 3)
    return f"The {first} of the {second} {chance.choice(VERBS)} the {third} and the {chance.choice(NOUNS)}."


def page(number: int) -> bytes:
    chance = random.Random(number if number < PAGES - 3 else 0)  # the last ones are copies of the first
    shared = "<p>This paragraph stands at the end of every page and says nothing that is new.</p>"
    own = "".join(f"<p>{' '.join(sentence(chance) for _ in range(4))}</p>" for _ in range(4))
    return f"<html><body><h1>Page {number}</h1>{own}{shared}</body></html>".encode()


def prepared(out: Path, *overrides: str, files: int = 1) -> Path:
    """Make a dataset directory whose links and pages are there, and return the configuration's file."""
    pages = {f"http://example.org/{number}": page(number) for number in range(PAGES)}
    for file in range(files):
        arrived = list(reversed(pages.items()))[file::files] if files > 1 else pages.items()
        write_warc(out / "pages" / f"{file:05d}.warc.gz", dict(arrived))
    write_log(out)
    write_links(out / "links" / "0.parquet", {url: 3 + place % 5 for place, url in enumerate(pages)})
    path = out.parent / f"{out.name}.yaml"
    path.write_text(YAML.format(out=out))
    planned = stage.plan(load(Config, path, overrides))
    for each, previous in zip(planned.phases[:2], (None, "links"), strict=True):
        counts = PhaseCounts(documents_in=PAGES, documents_out=PAGES).to_json()
        after = fingerprint(out, previous)
        Mark(
            phase=each.name, identity=each.identity, after=after, inputs={}, seconds=0.0, counts=counts
        ).write(out)
    return path


def build(path: Path, *overrides: str, **options: str) -> Config:
    config = load(Config, path, overrides)
    stage.run(config, stage.plan(config), **options)
    return config


def hashes(out: Path) -> dict[str, list[str]]:
    manifest = Manifest.read(out)
    manifest.check(out)
    return {split: [shard.sha256 for shard in shards] for split, shards in manifest.splits.items()}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("built") / "dataset"
    build(prepared(out))
    return out


def test_every_phase_accounts_for_every_document(built: Path):
    rows = {row["name"]: row for row in Manifest.read(built).phases}

    assert list(rows) == ["links", "fetch", "extract", "filter", "dedup", "decontaminate", "tokenize"]
    for row in rows.values():
        assert row["documents_in"] == row["documents_out"] + sum(row["dropped"].values())
    assert rows["dedup"]["dropped"]["near"] + rows["dedup"]["dropped"].get("exact", 0) == 3
    assert rows["dedup"]["extra"]["paragraphs_removed"] == PAGES - 3 - 1


def test_splits_are_published_with_their_bytes(built: Path):
    manifest = Manifest.read(built)
    kept = [
        each for file in document_files(built / "kept" / "decontaminate") for each in read_documents(file)
    ]

    assert set(manifest.splits) == {"train", "validation", "test"}
    assert sum(manifest.text_bytes.values()) == sum(len(each.text.encode()) for each in kept)
    assert sum(shard.documents for shards in manifest.splits.values() for shard in shards) == len(kept)


def test_the_datasheet_shows_the_phases_and_examples(built: Path):
    sheet = (built / "datasheet.md").read_text()

    for expected in (
        "| dedup | nearly the same text as another |",
        "## Overlap of held-out",
        "## Kept: samples",
        "### dedup: nearly the same text as another",
        "example\\.org",
    ):
        assert expected in sheet


def test_a_finished_dataset_is_left_alone_at_once(built: Path, caplog):
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*") if path.is_file()}

    with caplog.at_level("INFO", logger="loglinear.data"):
        build(built.parent / "dataset.yaml")

    assert "already done, nothing to do" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in built.rglob("*") if path.is_file()} == before


def test_another_identity_in_the_same_place_is_refused_with_the_difference(built: Path):
    with pytest.raises(ConfigError, match=r"splits\.test: 0\.15 -> 0\.2") as refusal:
        build(built.parent / "dataset.yaml", "splits.test=0.2", "tokenizer.vocab_size=301")

    assert "tokenizer.vocab_size: 300 -> 301" in str(refusal.value)


def test_changed_execution_is_accepted_and_told(built: Path, caplog):
    with caplog.at_level("INFO", logger="loglinear.data"):
        build(built.parent / "dataset.yaml", "execute.workers=2")

    assert "execute.workers: 1 -> 2" in caplog.text


def test_the_resolved_configuration_lies_beside_the_data_and_loads(built: Path):
    assert load(Config, built / "config.yaml") == load(Config, built.parent / "dataset.yaml")


def test_two_workers_build_the_same_shards(built: Path, tmp_path: Path):
    build(prepared(tmp_path / "d"), "execute.workers=2")

    assert hashes(tmp_path / "d") == hashes(built)


def test_the_order_in_which_pages_arrived_cannot_be_seen(built: Path, tmp_path: Path):
    build(prepared(tmp_path / "d", files=3))

    assert hashes(tmp_path / "d") == hashes(built)


def test_phases_can_be_run_one_by_one(built: Path, tmp_path: Path):
    path = prepared(tmp_path / "d")

    build(path, until="filter")
    assert [phase.name for phase in stage.plan(load(Config, path)).phases if phase.mark][-1] == "filter"
    with pytest.raises(ConfigError, match="--only tokenize: not yet done before it: dedup, decontaminate"):
        build(path, only="tokenize")
    build(path, only="dedup")
    build(path)

    assert hashes(tmp_path / "d") == hashes(built)


def test_an_unknown_phase_gets_a_suggestion(built: Path):
    with pytest.raises(ConfigError, match=r"no phase 'tokenise' \(did you mean tokenize\?\)"):
        build(built.parent / "dataset.yaml", until="tokenise")


def test_a_phase_made_again_makes_everything_after_it_again(tmp_path: Path):
    path = prepared(tmp_path / "d")
    build(path, until="filter")
    (tmp_path / "d" / ".phases" / "extract.json").unlink()

    planned = stage.plan(load(Config, path))

    assert [phase.name for phase in planned.phases if phase.mark] == ["links", "fetch"]


def test_a_dataset_that_is_being_made_again_has_no_manifest(built: Path, tmp_path: Path):
    path = prepared(tmp_path / "d")
    build(path)
    (tmp_path / "d" / ".phases" / "tokenize.json").unlink()

    build(path, until="tokenize")
    assert not (tmp_path / "d" / "manifest.json").exists()
    assert not (tmp_path / "d" / ".phases" / "publish.json").exists()
    build(path)

    assert hashes(tmp_path / "d") == hashes(built)


def test_a_manifest_that_was_lost_is_published_again(built: Path, tmp_path: Path):
    path = prepared(tmp_path / "d")
    build(path)
    (tmp_path / "d" / "manifest.json").unlink()

    build(path)

    assert hashes(tmp_path / "d") == hashes(built)


def test_a_warc_file_that_was_replaced_is_noticed(tmp_path: Path):
    path = prepared(tmp_path / "d")
    write_warc(tmp_path / "d" / "pages" / "00000.warc.gz", {"http://example.org/0": page(0)})

    with pytest.raises(FormatError, match=r"00000\.warc\.gz: \d+ bytes, but fetch-log\.parquet tells of"):
        build(path)


def test_pages_that_are_missing_between_two_phases_are_an_error(tmp_path: Path):
    path = prepared(tmp_path / "d")
    write_warc(tmp_path / "d" / "pages" / "00000.warc.gz", {"http://example.org/0": page(0)})
    write_log(tmp_path / "d")  # a log that agrees with the file, but not with what fetch gave out

    with pytest.raises(StageError, match="extract: fetch gave out 40, but 1 came in"):
        build(path)


def test_two_builds_of_one_dataset_at_once_are_refused(tmp_path: Path):
    import filelock

    path = prepared(tmp_path / "d")
    with (
        filelock.FileLock(tmp_path / "d" / ".phases" / "lock"),
        pytest.raises(StageError, match="another process"),
    ):
        build(path)


def test_a_full_disk_leaves_finished_phases_whole(tmp_path: Path):
    path = prepared(tmp_path / "d")
    build(path, until="extract")
    # A limit on the size of files makes writing fail half-way, as a full disk does (with another number,
    # EFBIG).
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500));"
        "sys.argv[1:] = ['data', sys.argv[1]]; from pipeline.cli import main; main()"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, env=environment()
    )

    assert ended.returncode != 0
    assert [phase.name for phase in stage.plan(load(Config, path)).phases if phase.mark][-1] == "extract"
    assert list((tmp_path / "d" / "kept").rglob("*.jsonl.zst")) == []


@pytest.mark.parametrize("phase", ["filter", "dedup", "tokenize"])
def test_killed_in_a_phase_and_started_again_gives_the_same_shards(built: Path, tmp_path: Path, phase: str):
    path = prepared(tmp_path / "d")
    command = [sys.executable, "-m", "pipeline", "data", path]
    killed = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
    )
    while killed.poll() is None and not list((tmp_path / "d" / ".phases").glob(f"{phase}-*")):
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "d" / "manifest.json").exists()

    build(path)

    assert hashes(tmp_path / "d") == hashes(built)
    assert {row["name"]: row["documents_out"] for row in Manifest.read(tmp_path / "d").phases} == {
        row["name"]: row["documents_out"] for row in Manifest.read(built).phases
    }


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(stage.__file__).parents[2])}
