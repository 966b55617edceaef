"""ROUGE of a summary, by the package rouge-score (extra `eval`)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from pipeline.errors import ConfigError

_KINDS = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeLsum", "rouge_l_whole": "rougeL"}
"""Our names and the package's. ROUGE-L of summaries is by sentences (Lin, 2004, section 3.2), as ROUGE-1.5.5
counts it and tables print it; `rouge_l_whole` takes the whole text for one sequence."""


class Rouge:
    """Scores summaries against a reference, both as lists of sentences."""

    def __init__(self, stemmer: bool):
        try:
            from rouge_score.rouge_scorer import RougeScorer
        except ImportError as fault:
            raise ConfigError(
                f"tasks: ROUGE needs rouge-score ({fault}): pip install loglinear[eval]"
            ) from None
        self._scorer = RougeScorer(list(_KINDS.values()), use_stemmer=stemmer)
        self.signature = f"rouge-score {version('rouge-score')}, {'Porter' if stemmer else 'no'} stemmer"

    def score(self, reference: Sequence[str], summary: Sequence[str]) -> dict[str, float]:
        """Return F1 in points of 100: ROUGE-1, 2, L (by sentences), L of the whole, the mean of the first
        three. An empty summary, and one without a letter or digit, has 0."""
        found = self._scorer.score("\n".join(reference), "\n".join(summary))
        points = {name: 100 * float(found[kind].fmeasure) for name, kind in _KINDS.items()}
        average = (points["rouge_1"] + points["rouge_2"] + points["rouge_l"]) / 3
        return {**points, "rouge_average": average}
