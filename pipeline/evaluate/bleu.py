"""BLEU of translations, by the package sacrebleu (extra `eval`)."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import ConfigError
from pipeline.metrics import Estimate, bootstrap

ORDER = 4
"""The longest n-grams that count (Papineni et al., 2002)."""


class Bleu:
    """Counts what BLEU needs of each translation, so that the figure of a set follows from sums.

    `signature` is sacrebleu's: references, case, tokenizer, smoothing, version. `tokenize` is the name of one
    of its tokenizers; ConfigError for another name, or where sacrebleu is missing.
    """

    def __init__(self, tokenize: str):
        try:
            from sacrebleu.metrics.bleu import BLEU
        except ImportError as fault:
            raise ConfigError(f"tasks: BLEU needs sacrebleu ({fault}): pip install loglinear[eval]") from None
        if tokenize not in BLEU.TOKENIZERS:
            known = ", ".join(sorted(BLEU.TOKENIZERS))
            raise ConfigError(f"tasks: tokenize is {tokenize!r}, but sacrebleu knows {known}")
        self._corpus = BLEU(tokenize=tokenize)
        self._sentence = BLEU(tokenize=tokenize, effective_order=True)
        self._corpus.corpus_score(["-"], [["-"]])  # only then does it know the number of references
        self.signature = str(self._corpus.get_signature())

    def counts(self, translation: str, reference: str) -> list[int]:
        """Return the words of translation and reference, then n-grams found, then n-grams, n from 1 to 4."""
        found = self._sentence.sentence_score(translation, [reference])
        return [found.sys_len, found.ref_len, *map(int, found.counts), *map(int, found.totals)]

    def sentence(self, translation: str, reference: str) -> float:
        """Return BLEU of one sentence, in points of 100, without the orders that it is too short for."""
        return float(self._sentence.sentence_score(translation, [reference]).score)

    def corpus(self, counts: Sequence[Sequence[float]]) -> Estimate:
        """Return BLEU of a set in points of 100; its error is that of drawing sentences anew."""
        return bootstrap(counts, self._of_sums)

    def _of_sums(self, sums: Sequence[float]) -> float:
        found = self._corpus.compute_bleu(
            correct=[round(value) for value in sums[2 : 2 + ORDER]],
            total=[round(value) for value in sums[2 + ORDER :]],
            sys_len=round(sums[0]),
            ref_len=round(sums[1]),
            smooth_method=self._corpus.smooth_method,
        )
        return float(found.score)
