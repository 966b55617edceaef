"""What of a text the training documents have too, as section 4 of the GPT-2 paper measures it.

Texts are compared by runs of eight lower-case alphanumeric words (8-grams). Those of the training documents
stand in a Bloom filter that takes a foreign one for its own at most once in 10^8. Building a dataset leaves
the filter on request (`decontaminate.bloom`); without it one is made here, once for each dataset, and kept in
its folder `bloom/`.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.tokenizer import Tokenizer
from pipeline.errors import StageError
from pipeline.evaluate.task import Example, LogLikelihood, Setting, Task
from pipeline.formats import bloom
from pipeline.formats.bloom import Bloom
from pipeline.formats.hashes import Hashes, by_part, ngram_hashes, normal_words, word_hashes
from pipeline.formats.publish import publishing
from pipeline.log import progress

_log = logging.getLogger("loglinear.evaluate")

FOLDER = "bloom"
BUILT_WITH_DATASET = Path("kept", "decontaminate", "bloom")
MOST_BYTES = 16 << 30
"""A larger filter is not made here: building the dataset makes it on disk, by many processes."""
_PART_BITS = 1 << 31  # a part's bits are numbered by 32 bits
_BATCH = 1 << 18
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Shared:
    """How many n-grams a text has, how many of them others have too, and the longest stretch of those."""

    ngrams: int
    found: int
    longest: str


def shared(text: str, n: int, contains: Bloom | SeenIn) -> Shared:
    """Return what of a text is elsewhere; a text shorter than n words has no n-gram."""
    words = normal_words(text)
    hits = contains.contains(ngram_hashes(word_hashes(words), n))
    start, length = _longest_run(hits)
    stretch = words[start : start + length + n - 1] if length else []
    return Shared(len(hits), int(hits.sum()), " ".join(stretch))


def text_of(task: Task, example: Example, tokenizer: Tokenizer) -> str:
    """Return the text of an example: the strings that the task holds of it, in their order.

    Where it holds none but ids, it is what the model is asked about: targets, or prompts to go on from.
    """
    if strings := list(_strings(example.content)):
        return " ".join(strings)
    ids = [
        id
        for request in task.requests(example)
        for id in (request.target if isinstance(request, LogLikelihood) else request.prompt)
    ]
    return tokenizer.decode([id for id in ids if id != tokenizer.eot_id])


def training_filter(setting: Setting, split: str, n: int, rate: float) -> Bloom:
    """Return the filter of a split's n-grams, making it where there is none yet.

    Raises StageError where it would take more than `MOST_BYTES` of memory.
    """
    left = _left_by_build(setting, split, n, rate)
    if left is not None:
        return left
    folder = setting.dataset / FOLDER / f"{split}-{n}-{rate:g}-{setting.manifest.hash}"
    if not (folder / bloom.META).is_file():
        fields = _fields(setting.manifest.tokens(split), rate)
        documents = sum(shard.documents for shard in setting.manifest.splits[split])
        with progress(f"{n}-grams of {split}", documents, "documents") as shown:
            for hashes in _batches(setting.documents(split), n, shown):
                for part, places in by_part(hashes, len(fields)):
                    bloom.insert(fields[part], hashes[places], rate)
        _publish(folder, fields, n, rate)
    return Bloom.read(folder)


class SeenIn:
    """Those of some n-grams that stand in texts which are too many to hold."""

    def __init__(self, ngrams: Hashes, n: int):
        self._ngrams, self._n = np.unique(ngrams), n
        self._seen = np.zeros(len(self._ngrams), dtype=bool)

    def read(self, path: Path, first_bytes: int | None = None) -> None:
        """Look for them in a text file, or in its beginning."""
        carried: list[str] = []
        for block in _blocks(path, first_bytes):
            words = carried + normal_words(block)
            hashes = ngram_hashes(word_hashes(words), self._n)
            self._seen[self._places(hashes)[self._are_members(hashes)]] = True
            carried = words[-(self._n - 1) :] if self._n > 1 else []

    def contains(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Return which n-grams were seen."""
        found = self._are_members(hashes)
        found[found] = self._seen[self._places(hashes[found])]
        return found

    def _places(self, hashes: Hashes) -> npt.NDArray[np.int64]:
        return np.searchsorted(self._ngrams[:-1], hashes)

    def _are_members(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        if not len(self._ngrams):
            return np.zeros(len(hashes), dtype=bool)
        return np.equal(self._ngrams[self._places(hashes)], hashes)


def _left_by_build(setting: Setting, split: str, n: int, rate: float) -> Bloom | None:
    """Return the filter that building the dataset left of its training documents, if it serves."""
    folder = setting.dataset / BUILT_WITH_DATASET
    if split != "train" or not (folder / bloom.META).is_file():
        return None
    built = Bloom.read(folder)
    noted = [phase.get("extra", {}).get("bloom") for phase in setting.manifest.phases]
    known = any(each and each["elements"] == sum(built.elements) for each in noted)
    return built if known and built.ngram == n and built.rate <= rate else None


def _fields(tokens: int, rate: float) -> list[bloom.Field]:
    """Return empty bits for as many n-grams as tokens: there are never more, since a word takes a token."""
    bits = tokens * bloom.shape(rate)[1]
    if bits / 8 > MOST_BYTES:
        raise StageError(
            f"overlap: a filter of {tokens:,} n-grams takes {bits / 8e9:,.1f} GB of memory, more than "
            f"{MOST_BYTES / 1e9:,.1f}; build the dataset with decontaminate.bloom, which leaves it on disk"
        )
    parts = max(1, -int(-bits // _PART_BITS))
    return [bloom.empty_field(-(-tokens // parts), rate) for _ in range(parts)]


def _batches(documents: Iterable[str], n: int, shown: Any) -> Iterator[Hashes]:
    """Yield the distinct n-grams of many documents at a time."""
    held: list[Hashes] = []
    for document in documents:
        held.append(ngram_hashes(word_hashes(normal_words(document)), n))
        shown.advance()
        if sum(map(len, held)) >= _BATCH:
            yield np.unique(np.concatenate(held))
            held = []
    if held:
        yield np.unique(np.concatenate(held))


def _publish(folder: Path, fields: Sequence[bloom.Field], n: int, rate: float) -> None:
    try:
        with publishing(folder) as draft:
            draft.mkdir()
            for part, field in enumerate(fields):
                bloom.write_part(draft, part, field)
            bloom.write_meta(draft, n, rate, [bloom.elements_of(field, rate) for field in fields])
    except OSError as fault:
        if not (folder / bloom.META).is_file():  # unless another process was first with the same
            raise StageError(
                f"overlap: {folder}: {fault}; let it be written, or build the dataset with "
                "decontaminate.bloom"
            ) from None


def _strings(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        yield from _strings(tuple(content.values()))
    elif dataclasses.is_dataclass(content):
        yield from _strings(tuple(getattr(content, field.name) for field in dataclasses.fields(content)))
    elif isinstance(content, list | tuple):
        for each in content:
            yield from _strings(each)


def _blocks(path: Path, first_bytes: int | None) -> Iterator[str]:
    """Yield a text file in pieces that end between words."""
    left = path.stat().st_size if first_bytes is None else first_bytes
    rest = b""
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(_BLOCK_BYTES, left))):
            left -= len(block)
            whole, blank, rest = (rest + block).rpartition(b" ")
            yield (whole + blank).decode("utf-8", errors="replace")
    yield rest.decode("utf-8", errors="replace")


def _longest_run(hits: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return where the longest run of hits begins, and its length."""
    borders = np.flatnonzero(np.diff(np.concatenate([[0], hits.astype(np.int8), [0]])))
    starts, ends = borders[::2], borders[1::2]
    if not len(starts):
        return 0, 0
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest] - starts[longest])
