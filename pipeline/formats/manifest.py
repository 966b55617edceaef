"""A dataset's manifest: its shards, counts, hashes, tokenizer and provenance. Written last, so its presence
means that the dataset is whole. It is sealed: a byte changed in it is found too."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import FormatError
from pipeline.formats.publish import read_format, write_json
from pipeline.formats.seal import sealed, unsealed
from pipeline.formats.shards import Dtype, Shard, check_file, check_shard
from pipeline.formats.typed import Below, typed

if TYPE_CHECKING:
    from model.tokenizer import Tokenizer

FORMAT = 1
NAME = "manifest.json"
_REMEDY = "restore it or rebuild the dataset"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a dataset holds. `text_bytes` are the UTF-8 bytes of each split's text, for bits per byte;
    `files` are the tokenizer's, by name, each with its SHA-256.
    """

    tokenizer: str
    tokenizer_fingerprint: str
    vocab_size: int
    dtype: Dtype
    eot_id: int
    splits: dict[str, tuple[Shard, ...]]
    text_bytes: dict[str, int]
    files: dict[Below, str] = field(default_factory=dict)
    phases: list[dict[str, Any]] = field(default_factory=list)
    config_hash: str = ""
    code_version: str = ""
    format: int = FORMAT

    @property
    def hash(self) -> str:
        """Identify the data whatever built it: the tokens, their order and what the ids mean."""
        parts = [self.tokenizer_fingerprint, self.dtype, str(self.eot_id)]
        parts += [f"{split}:{shard.sha256}" for split in sorted(self.splits) for shard in self.splits[split]]
        return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()

    def tokens(self, split: str) -> int:
        """Return how many tokens a split has; FormatError names the splits there are."""
        if split not in self.splits:
            raise FormatError(f"no split {split!r} in this dataset; it has {', '.join(sorted(self.splits))}")
        return sum(shard.tokens for shard in self.splits[split])

    def check(self, dataset: Path, hashes: bool = True) -> None:
        """Raise FormatError naming the first file that is not what this manifest says."""
        for name, sha256 in self.files.items():
            check_file(dataset / name, None, sha256, hashes)
        for shards in self.splits.values():
            for shard in shards:
                check_shard(dataset, shard, self.dtype, hashes)

    def load_tokenizer(self, dataset: Path) -> Tokenizer:
        """Return the tokenizer that wrote the ids; FormatError if it is not there, or another one is."""
        from model.tokenizer import load

        try:
            found = load(dataset)
        except (OSError, ValueError) as fault:
            raise FormatError(f"{fault}; restore the tokenizer's files or rebuild the dataset") from None
        if found.fingerprint != self.tokenizer_fingerprint:
            raise FormatError(
                f"{dataset}: the tokenizer here has the fingerprint {found.fingerprint}, {NAME} says"
                f" {self.tokenizer_fingerprint}; restore the tokenizer's files or rebuild the dataset"
            )
        return found

    def write(self, dataset: Path) -> None:
        """Publish the manifest: from here on the dataset is whole."""
        write_json(dataset / NAME, sealed(asdict(self)))

    @classmethod
    def read(cls, dataset: Path) -> Manifest:
        """Return the manifest of a dataset directory; FormatError if there is none, or of another format."""
        path = dataset / NAME
        if not path.is_file():
            raise FormatError(
                f"{path}: no manifest, so no whole dataset; build it with `loglinear data CONFIG`"
            )
        values = read_format(path, FORMAT, "rebuild the dataset")
        return typed(cls, unsealed(path, values, _REMEDY), path, _REMEDY)
