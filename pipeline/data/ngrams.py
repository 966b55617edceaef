"""The n-grams of a document, and which of them lie in which of its paragraphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.formats.hashes import Hashes, ngram_hashes, normal_words, word_hashes


@dataclass(frozen=True)
class Ngrams:
    """The n-grams of paragraphs that stand one after another.

    Those that begin in one paragraph and end in the next are of the document and of no paragraph.
    """

    hashes: Hashes  # (n-grams,) of the document, in order
    words: npt.NDArray[np.int64]  # (paragraphs,)
    starts: npt.NDArray[np.int64]  # (paragraphs,) the n-grams of a paragraph are hashes[start:stop]
    stops: npt.NDArray[np.int64]

    @classmethod
    def of(cls, paragraphs: Sequence[str], n: int) -> Ngrams:
        """Return the n-grams of normalised words."""
        words = [normal_words(paragraph) for paragraph in paragraphs]
        hashes = ngram_hashes(word_hashes(word for each in words for word in each), n)
        counts = np.array([len(each) for each in words], dtype=np.int64)
        ends = np.cumsum(counts)
        starts = np.minimum(ends - counts, len(hashes))
        return cls(hashes, counts, starts, np.clip(ends - n + 1, starts, len(hashes)))

    def in_paragraphs(self, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Return how many of the chosen n-grams (n-grams,) lie in each paragraph (paragraphs,)."""
        running: Any = np.concatenate([[0], np.cumsum(chosen)])
        return running[self.stops] - running[self.starts]  # type: ignore[no-any-return]


def members(hashes: Hashes, of: Hashes) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Return which hashes are in a sorted array, and where each would stand in it; `of` must not be empty."""
    places = np.minimum(np.searchsorted(of, hashes), len(of) - 1)
    return of[places] == hashes, places
