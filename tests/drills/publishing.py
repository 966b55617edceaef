"""A process that publishes something of every kind, for a drill to look at the order of its system calls."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.data.documents import line_of, writing_documents
from pipeline.formats.manifest import Manifest
from pipeline.formats.publish import write_json
from pipeline.formats.results import RecordLog, Result, Results, write_records
from pipeline.formats.shards import ShardWriter
from pipeline.report import page
from tests.drills.saving import PUBLISHING, READY, TRACED, Words, save, until
from tests.pipeline.data.conftest import document

# What grows by appending, row by row, and is torn at worst in its last row; locks hold nothing.
GROWS = ("metrics.jsonl", "records.log", "writer.lock")


def publish_all(folder: Path, words: Words) -> None:
    """Publish a dataset, its report, results with their records, and a run with its checkpoints; then end."""
    words[READY] = os.getpid()
    until(lambda: words[TRACED])
    _dataset(folder / "dataset")
    page.write(folder / "dataset")
    _results(folder / "results")
    save(folder / "run", (0, 1, 0), words, PUBLISHING)


def _dataset(folder: Path) -> None:
    with writing_documents(folder / "kept" / "00000.jsonl.zst") as file:
        file.write(line_of(document("a", "Some text.")))
    shards = {}
    for split in ("train", "validation", "test"):
        writer = ShardWriter(folder / "shards" / f"{split}-00000.ds", "uint16")
        writer.write([1, 2, 0])
        shards[split] = (writer.close(),)
    Manifest(
        tokenizer="trained",
        tokenizer_fingerprint="abc",
        vocab_size=3,
        dtype="uint16",
        eot_id=0,
        splits=shards,
        text_bytes=dict.fromkeys(shards, 7),
    ).write(folder)


def _results(folder: Path) -> None:
    log = RecordLog(folder / "records.log")
    for number in range(2):
        log.append([{"example": number}])
    write_records(folder / "task.jsonl.zst", log.records)
    result = Result(
        task="t",
        metric="m",
        value=1.0,
        stderr=None,
        num_examples=2,
        dtype="fp32",
        data_sha256="",
        protocol="",
    )
    Results(checkpoint="c", weights_hash="w", origin={}, results=(result,)).write(folder / "suite.json")
    write_json(folder / "verdict.json", {"summary": []})
