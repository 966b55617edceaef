"""A dataset's manifest: its shards, counts, hashes, tokenizer and provenance. Written last, so its presence
means that the dataset is whole."""

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.publish import read_json, write_json
from pipeline.formats.shards import Shard, check_shard

FORMAT = 1
NAME = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a dataset holds. `text_bytes` are the UTF-8 bytes of each split's text, for bits per byte."""

    tokenizer: str
    tokenizer_fingerprint: str
    vocab_size: int
    dtype: str
    eot_id: int
    splits: dict[str, tuple[Shard, ...]]
    text_bytes: dict[str, int]
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
        """Raise FormatError naming the first shard that is not what this manifest says."""
        for shards in self.splits.values():
            for shard in shards:
                check_shard(dataset, shard, self.dtype, hashes)

    def write(self, dataset: Path) -> None:
        """Publish the manifest: from here on the dataset is whole."""
        write_json(dataset / NAME, asdict(self))

    @classmethod
    def read(cls, dataset: Path) -> "Manifest":
        """Return the manifest of a dataset directory; FormatError if there is none, or of another format."""
        path = dataset / NAME
        if not path.is_file():
            raise FormatError(
                f"{path}: no manifest, so no whole dataset; build it with `loglinear data CONFIG`"
            )
        values = read_json(path)
        found = values.get("format") if isinstance(values, dict) else None
        if found != FORMAT:
            raise FormatError(f"{path}: format {found!r}, this version reads {FORMAT}; rebuild the dataset")
        try:
            splits = {
                name: tuple(Shard(**shard) for shard in shards)
                for name, shards in values.pop("splits").items()
            }
            return cls(splits=splits, **values)
        except (KeyError, TypeError, AttributeError) as fault:
            raise FormatError(f"{path}: {fault}; rebuild the dataset") from None
