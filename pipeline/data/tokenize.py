"""Turn documents into token shards: choose or train the tokenizer, encode, write in canonical order.

Documents are ordered by the hash of their canonical URL, which is their id, so neither the order of arrival
nor the number of workers can be seen in a shard. Each document ends with the end-of-text id.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.data.counts import PhaseCounts
from pipeline.data.documents import (
    ReadDocuments,
    TaskOutput,
    document_files,
    merged_counts,
    read_documents,
)
from pipeline.data.phase import PhaseRun
from pipeline.formats.publish import publishing, read_json, sha256_of, write_bytes, write_json
from pipeline.formats.shards import ShardWriter, dtype_for

if TYPE_CHECKING:
    from model.tokenizer import Tokenizer

Ids: TypeAlias = npt.NDArray[np.uint32]

SPLITS = ("train", "validation", "test")
# A tokenizer learns next to nothing from more text than this, and this much fits into memory.
SAMPLE_BYTES = 256 << 20


class TokenizerKind(Protocol):
    """A way to come by a tokenizer."""

    def build(self, texts: Iterable[str]) -> Tokenizer:
        """Return the tokenizer; `texts` are training documents in canonical order, read only if iterated."""


def run(config: TokenizerKind, shard_tokens: int, span_tokens: int | None, phase: PhaseRun) -> PhaseCounts:
    """Write `shards/` and the tokenizer's files; the counts carry the shards' entries for the manifest.

    With `span_tokens` each document becomes whole spans of so many ids (its end, which fills none, is left
    out), so that windows of that length never run from one document into the next.
    """
    files = document_files(phase.source)
    tokenizer_folder, encoded = phase.work / "tokenizer", phase.work / "encoded"
    if not tokenizer_folder.exists():
        tokenizer = config.build(training_sample(phase.source / "train"))
        with publishing(tokenizer_folder) as draft:
            tokenizer.save(draft)
    output = TaskOutput(phase.kept, phase.dropped, phase.counts)
    encode = Encode(tokenizer_folder, span_tokens, encoded, output)
    phase.run_tasks([ReadDocuments(files, output), encode], len(files), "encode")
    plan = plan_shards([encoded / f"{rank:05d}" for rank in range(len(files))], shard_tokens)
    writer = WriteShards(plan, encoded, phase.dataset / "shards", phase.work / "written")
    phase.run_tasks([writer], len(plan), "shards")
    for path in sorted(tokenizer_folder.iterdir()):
        write_bytes(phase.dataset / path.name, path.read_bytes())
    counts = merged_counts(phase.counts, len(files))
    extra = _extra(tokenizer_folder, encoded, len(files), [writer.entry(rank) for rank in range(len(plan))])
    return replace(counts, extra={**counts.extra, **extra})


def training_sample(folder: Path, most_bytes: int = SAMPLE_BYTES) -> Iterator[str]:
    """Yield training texts in the order of their ids, at most so many bytes (and at least one text)."""
    sample: list[tuple[str, str]] = []
    size = 0
    for file in document_files(folder):
        for document in read_documents(file):
            sample.append((document.id, document.text))
            size += len(document.text)
            if size > 2 * most_bytes:
                sample = _lowest(sample, most_bytes)
                size = sum(len(text) for _, text in sample)
    yield from (text for _, text in _lowest(sample, most_bytes))


def _lowest(sample: list[tuple[str, str]], most_bytes: int) -> list[tuple[str, str]]:
    sample.sort()
    ends = np.cumsum([len(text.encode()) for _, text in sample])
    return sample[: max(1, int(np.searchsorted(ends, most_bytes, side="right")))]


@dataclass
class Encode:
    """A pipeline's last step: write the ids of the documents of file number `rank`, and what the datasheet
    counts.
    """

    tokenizer: Path
    span_tokens: int | None
    folder: Path
    output: TaskOutput

    def __call__(self, data: Iterable[Any], rank: int, _world_size: int) -> None:
        """Consume the documents."""
        target = self.folder / f"{rank:05d}"
        if target.exists():
            return  # whole, for it was published; only datatrove's mark after it is missing
        self.output.begin(rank)
        try:
            with publishing(target) as draft:
                draft.mkdir()
                self._write(data, draft)
                self.output.publish()
        except BaseException as fault:
            self.output.abandon(fault)
            raise

    def _write(self, data: Iterable[Any], draft: Path) -> None:
        """Write the ids of all documents one after the other, and a table of where they end."""
        tokenizer = _loaded(self.tokenizer)
        dtype = np.dtype(dtype_for(tokenizer.vocab_size)).newbyteorder("<")
        lengths, end = np.array(tokenizer.byte_lengths()), np.array(tokenizer.eot_id, dtype)
        rows: list[tuple[int, int, int, int]] = []
        seen = Seen()
        with (draft / "tokens").open("wb") as tokens:
            for document, ids in self._encoded(data, tokenizer):
                tokens.write(ids.astype(dtype).data)
                tokens.write(end.data)
                split = SPLITS.index(document.metadata["split"])
                rows.append((int(document.id[:16], 16), int(document.id[16:], 16), split, len(ids) + 1))
                is_whole = self.span_tokens is None
                text_bytes = len(document.text.encode()) if is_whole else int(lengths[ids].sum())
                seen.count(document, len(ids) + 1, text_bytes)
        np.save(draft / "documents.npy", np.array(rows, dtype=np.uint64).reshape(len(rows), 4))
        write_json(draft / "seen.json", seen.to_json())

    def _encoded(self, data: Iterable[Any], tokenizer: Tokenizer) -> Iterator[tuple[Any, Ids]]:
        """Yield the documents with their ids, less the end of text that follows each."""
        for document in data:
            text_ids = tokenizer.encode_array(document.text)
            tokens = len(text_ids) + 1
            kept = tokens - tokens % (self.span_tokens or 1)
            self.output.sums["tokens_left_out"] += tokens - kept
            if not kept:
                self.output.drop(document, "shorter-than-a-span")
                continue
            self.output.documents_out += 1
            yield document, text_ids[: kept - 1]


@functools.lru_cache(maxsize=1)  # one process encodes many files
def _loaded(folder: Path) -> Tokenizer:
    from model.tokenizer import load

    return load(folder)


class Seen:
    """What the datasheet tells of the documents that became tokens."""

    def __init__(self) -> None:
        self.counters: dict[str, Counter[str]] = {
            name: Counter()
            for name in ("documents", "text_bytes", "domains", "languages", "lengths_in_tokens")
        }

    def count(self, document: Any, tokens: int, text_bytes: int) -> None:
        """Add one document, of so many tokens that stand for so many bytes of text."""
        metadata = document.metadata
        self.counters["documents"][metadata["split"]] += 1
        self.counters["text_bytes"][metadata["split"]] += text_bytes
        self.counters["domains"][metadata["domain"]] += 1
        self.counters["languages"][metadata.get("language", "unknown")] += 1
        self.counters["lengths_in_tokens"][str(1 << (tokens - 1).bit_length())] += 1

    def add(self, counters: dict[str, dict[str, int]]) -> None:
        """Add what another file's `to_json` said."""
        for name, counter in counters.items():
            self.counters[name].update(counter)

    def to_json(self, most: int | None = None) -> dict[str, dict[str, int]]:
        """Return the counters, their `most` frequent entries first."""
        return {name: dict(counter.most_common(most)) for name, counter in self.counters.items()}


@dataclass(frozen=True)
class ShardPlan:
    """Which documents a shard holds, in order: their files and their positions there."""

    name: str
    files: Any  # (documents,)
    positions: Any  # (documents,)


def plan_shards(encoded: Sequence[Path], shard_tokens: int) -> list[ShardPlan]:
    """Cut the documents of each split, ordered by id, into shards of about so many tokens (at least one
    document).
    """
    tables = [np.load(folder / "documents.npy") for folder in encoded]
    documents = np.concatenate([*tables, np.empty((0, 4), np.uint64)])
    files = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    positions = np.concatenate([np.arange(len(table)) for table in tables] + [np.empty(0, int)])
    plan = []
    for number, split in enumerate(SPLITS):
        chosen = np.flatnonzero(documents[:, 2] == number)
        chosen = chosen[np.lexsort((documents[chosen, 1], documents[chosen, 0]))]
        ends = np.cumsum(documents[chosen, 3])
        shard = (ends - documents[chosen, 3]) // np.uint64(shard_tokens)
        for index, value in enumerate(np.unique(shard)):
            here = chosen[shard == value]
            plan.append(ShardPlan(f"{split}-{index:05d}.ds", files[here], positions[here]))
    return plan


@dataclass
class WriteShards:
    """A pipeline of one step: write shard number `rank`."""

    plan: Sequence[ShardPlan]
    encoded: Path
    shards: Path
    written: Path

    def __call__(self, _data: Any, rank: int, _world_size: int) -> None:
        """Copy each document's tokens to its place."""
        shard = self.plan[rank]
        folders = {file: self.encoded / f"{file:05d}" for file in np.unique(shard.files)}
        ends = {file: np.cumsum(np.load(folder / "documents.npy")[:, 3]) for file, folder in folders.items()}
        item = {
            file: (folder / "tokens").stat().st_size // max(1, int(ends[file][-1]))
            for file, folder in folders.items()
        }
        dtype = f"uint{8 * max(item.values())}"
        tokens = {
            file: np.memmap(folder / "tokens", dtype=f"<u{item[file]}", mode="r")
            for file, folder in folders.items()
        }
        writer = ShardWriter(self.shards / shard.name, dtype)
        for file, position in zip(shard.files, shard.positions, strict=True):
            start = int(ends[file][position - 1]) if position else 0
            writer.write(tokens[file][start : int(ends[file][position])])
        write_json(self.written / f"{rank:05d}.json", asdict(writer.close()))

    def entry(self, rank: int) -> dict[str, Any]:
        """Return what the manifest says of shard number `rank`."""
        return dict(read_json(self.written / f"{rank:05d}.json"))


def _extra(tokenizer: Path, encoded: Path, files: int, shards: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the manifest and the datasheet tell besides the documents."""
    seen = Seen()
    for rank in range(files):
        seen.add(read_json(encoded / f"{rank:05d}" / "seen.json"))
    loaded = _loaded(tokenizer)
    return {
        "tokenizer_files": {path.name: sha256_of(path) for path in sorted(tokenizer.iterdir())},
        "tokenizer": loaded.name,
        "tokenizer_fingerprint": loaded.fingerprint,
        "vocab_size": loaded.vocab_size,
        "eot_id": loaded.eot_id,
        "shards": shards,
        "tokens": sum(shard["tokens"] for shard in shards),
        "seen": seen.to_json(most=50),
    }
