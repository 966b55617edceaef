"""Small datasets for tests: texts written as shards, with a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from model.tokenizer import Tokenizer
from pipeline.formats.manifest import Manifest
from pipeline.formats.publish import sha256_of
from pipeline.formats.shards import Shard, ShardWriter


def write_dataset(
    folder: Path, tokenizer: Tokenizer, texts: Mapping[str, Sequence[str]], sums_of_files: bool = False
) -> Path:
    """Write the texts of each shard, `train-00000` for instance, and return the folder."""
    tokenizer.save(folder)
    shards: dict[str, list[Shard]] = {}
    text_bytes: dict[str, int] = {}
    for name, documents in texts.items():
        writer, split = ShardWriter(folder / "shards" / f"{name}.ds", "uint16"), name.partition("-")[0]
        for ids in tokenizer.encode_batch(documents):
            writer.write([*ids, tokenizer.eot_id])
        shards.setdefault(split, []).append(writer.close())
        text_bytes[split] = text_bytes.get(split, 0) + sum(len(text.encode()) for text in documents)
    files = sorted(path for path in folder.iterdir() if path.is_file()) if sums_of_files else []
    Manifest(
        tokenizer=tokenizer.name,
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocab_size=tokenizer.vocab_size,
        dtype="uint16",
        eot_id=tokenizer.eot_id,
        splits={split: tuple(found) for split, found in shards.items()},
        text_bytes=text_bytes,
        files={path.name: sha256_of(path) for path in files},
    ).write(folder)
    return folder
