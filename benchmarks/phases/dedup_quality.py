"""What near-deduplication finds of planted copies, by how much of them was changed, and what theory says."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.data import dedup
from pipeline.data.dedup import DedupConfig, SplitsConfig
from pipeline.data.documents import Text, document_files, line_of, read_documents, writing_documents
from pipeline.data.duplicates.minhash import Bands, bucket_keys
from pipeline.data.execute import ExecuteConfig
from pipeline.data.phase import PhaseRun
from pipeline.formats.hashes import ngram_hashes, normal_words, word_hashes

LEVELS = (0.05, 0.1, 0.2, 0.4)
PAIRS = 2000
LEAST_WORDS = 20


@dataclass(frozen=True, kw_only=True)
class Found:
    """One level of editing: rates are shares of the pairs of an original and its copy."""

    changed: float
    pairs: int
    jaccard: float  # mean true similarity of the pairs
    theory: float  # mean probability that a pair of its similarity shares a bucket
    candidates: float  # pairs that share a bucket
    recall: float  # pairs of which the copy was dropped
    alike: float  # pairs that are as similar as the configuration asks
    expected_recall: float  # of these the ones that by theory share a bucket
    false_merges: int  # dropped documents that are not so similar to the one that stays

    def __str__(self) -> str:
        return (
            f"{self.changed:4.0%} of words changed: {self.pairs} pairs, mean Jaccard {self.jaccard:.3f}, "
            f"candidates {self.candidates:6.1%} (theory {self.theory:6.1%}), "
            f"dropped {self.recall:6.1%} (theory {self.expected_recall:6.1%}; alike are {self.alike:6.1%}), "
            f"false merges {self.false_merges}"
        )


def quality(texts: Sequence[str], config: DedupConfig, pairs: int = PAIRS) -> Iterator[Found]:
    """Yield for each level what the phase finds of so many pairs."""
    bands = config.near
    assert bands is not None
    originals = [text for text in texts if len(text.split()) >= LEAST_WORDS][:pairs]
    vocabulary = [word for text in originals for word in text.split()]
    for changed in LEVELS:
        chance = random.Random(f"{changed}")
        copies = [edited(text, changed, vocabulary, chance) for text in originals]
        similar = [true_jaccard(*pair, bands.ngram) for pair in zip(originals, copies, strict=True)]
        merged = _merged(originals, copies, config)
        alike = [each for each in similar if each >= bands.min_jaccard]
        everything = {f"{n:032x}": text for n, text in enumerate([*originals, *copies])}
        yield Found(
            changed=changed,
            pairs=len(originals),
            jaccard=sum(similar) / len(similar),
            theory=sum(map(bands.probability, similar)) / len(similar),
            candidates=shared_buckets(originals, copies, bands),
            recall=sum(int(each, 16) >= len(originals) for each in merged) / len(originals),
            alike=len(alike) / len(similar),
            expected_recall=sum(map(bands.probability, alike)) / len(similar),
            false_merges=sum(
                true_jaccard(everything[gone], everything[keeper], bands.ngram) < bands.min_jaccard
                for gone, keeper in merged.items()
            ),
        )


def edited(text: str, changed: float, vocabulary: Sequence[str], chance: random.Random) -> str:
    """Return the text with this share of its words replaced by others."""
    words = text.split()
    for place in chance.sample(range(len(words)), round(changed * len(words))):
        words[place] = chance.choice(vocabulary)
    return " ".join(words)


def true_jaccard(left: str, right: str, ngram: int) -> float:
    """Return the similarity of two texts' sets of n-grams, without a hash."""
    a, b = (_shingles(normal_words(text), ngram) for text in (left, right))
    return len(a & b) / max(1, len(a | b))


def shared_buckets(left: Sequence[str], right: Sequence[str], bands: Bands) -> float:
    """Return the share of pairs that are candidates."""
    sides = []
    for texts in (left, right):
        hashes = [ngram_hashes(word_hashes(normal_words(text)), bands.ngram) for text in texts]
        sides.append(bucket_keys(hashes, bands))
    return float((sides[0] == sides[1]).any(axis=1).mean())


def _shingles(words: Sequence[str], ngram: int) -> set[tuple[str, ...]]:
    return {tuple(words[at : at + ngram]) for at in range(len(words) - ngram + 1)}


def _merged(originals: Sequence[str], copies: Sequence[str], config: DedupConfig) -> dict[str, str]:
    """Return the ids of what the phase drops, each with that of the one that stays; originals have karma."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with writing_documents(folder / "in" / "00000.jsonl.zst") as file:
            for number, text in enumerate([*originals, *copies]):
                metadata = {"url": f"http://example.org/{number}", "karma": int(number < len(originals))}
                file.write(line_of(Text(text, f"{number:032x}", metadata)))
        execute = ExecuteConfig(workers=1)
        phase = PhaseRun(
            name="dedup", dataset=folder, source=folder / "in", work=folder / "work", execute=execute
        )
        dedup.run(config, SplitsConfig(), phase)
        dropped = [each for file in document_files(phase.dropped) for each in read_documents(file)]
        return {each.id: each.metadata["duplicate_of"] for each in dropped}
