"""Short answers against references: normalisation, exact match and F1, as SQuAD and CoQA score them.

Both sets come with a script of their own (Rajpurkar et al., 2016, section 6.1; Reddy et al., 2019, section
5.1), and both scripts normalise alike.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(answer: str) -> str:
    """Return an answer in lower case, without ASCII punctuation and English articles, words one blank apart.

    The order is that of the scripts: punctuation goes first, so that `the.` is an article.
    """
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, references: Sequence[str]) -> float:
    """Return 1 if the answer is one of the references once all are normalised, else 0."""
    return max(float(normalise(answer) == normalise(reference)) for reference in references)


def f1(answer: str, references: Sequence[str]) -> float:
    """Return the best harmonic mean of precision and recall over words that any reference gives.

    Where nothing is left of an answer or of a reference, it is 1 if nothing is left of both and 0 otherwise,
    as CoQA's and SQuAD 2.0's scripts have it (that of SQuAD 1.1 gives 0 either way).
    """
    return max(_f1(normalise(answer).split(), normalise(reference).split()) for reference in references)


def leave_one_out(
    score: Callable[[str, Sequence[str]], float], answer: str, references: Sequence[str]
) -> float:
    """Return the mean of the scores against all references but one, each left out once.

    People are scored against the other people's answers, so a model that had all of them to match would have
    it easier (Reddy et al., 2019, section 5.1). A single reference is not left out.
    """
    if len(references) == 1:
        return score(answer, references)
    left = [[*references[:place], *references[place + 1 :]] for place in range(len(references))]
    return sum(score(answer, others) for others in left) / len(left)


def _f1(words: Sequence[str], reference: Sequence[str]) -> float:
    if not words or not reference:
        return float(words == reference)
    shared = (Counter(words) & Counter(reference)).total()
    return 2 * shared / (len(words) + len(reference))
