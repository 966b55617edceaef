"""Make the dataset visible: check every shard, write the datasheet, and the manifest last."""

from __future__ import annotations

import importlib.metadata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.data.counts import PhaseCounts
from pipeline.data.datasheet import write_datasheet
from pipeline.formats.manifest import Manifest
from pipeline.formats.shards import Shard, dtype_for

# What the last phase notes that has a place of its own in the manifest.
_IN_MANIFEST = ("shards", "tokenizer_files")


def run(dataset: Path, phases: Sequence[dict[str, Any]], config_hash: str) -> PhaseCounts:
    """Write manifest and datasheet from what the phases recorded (name, counts, seconds; in order).

    Raises FormatError naming the first shard whose length or hash is not what its writer noted.
    """
    manifest = manifest_of(phases, config_hash)
    manifest.check(dataset)
    write_datasheet(dataset, manifest)
    manifest.write(dataset)
    documents = sum(shard.documents for shards in manifest.splits.values() for shard in shards)
    return PhaseCounts(
        documents_in=documents, documents_out=documents, extra={"manifest_hash": manifest.hash}
    )


def manifest_of(phases: Sequence[dict[str, Any]], config_hash: str) -> Manifest:
    """Return the manifest that follows from the record of all phases, the last of which wrote the shards."""
    made = phases[-1]["extra"]
    splits: defaultdict[str, list[Shard]] = defaultdict(list)
    for entry in made["shards"]:
        shard = Shard(**entry)
        splits[Path(shard.name).name.partition("-")[0]].append(shard)
    rows = [dict(phase) for phase in phases]
    rows[-1]["extra"] = {key: value for key, value in made.items() if key not in _IN_MANIFEST}
    return Manifest(
        tokenizer=made["tokenizer"],
        tokenizer_fingerprint=made["tokenizer_fingerprint"],
        vocab_size=made["vocab_size"],
        dtype=dtype_for(made["vocab_size"]),
        eot_id=made["eot_id"],
        splits={split: tuple(shards) for split, shards in splits.items()},
        text_bytes=dict(made["seen"]["text_bytes"]),
        files=made.get("tokenizer_files", {}),  # a phase done by an earlier version did not note them
        phases=rows,
        config_hash=config_hash,
        code_version=importlib.metadata.version("loglinear"),
    )
