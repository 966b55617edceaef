"""The figures of GPT-1's paper (Radford et al., 2018), where fine-tuning and the report both find them.

Shares are shares here (0.454) where the paper prints 45.4. Tables 2 to 4 are of test sets (GLUE's by its
server), each beside the best before it. The ablations of Table 5 are of GLUE too, with MNLI the mean of its
two test sets. Figure 2 was read off the drawing, to 0.003 on the left and to two digits on the right.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.formats import paper

OURS, BEFORE = "GPT-1", "best before"
NO_AUXILIARY, NO_PRETRAINING, LSTM = "no auxiliary loss", "no pre-training", "LSTM"

# Table 5 has the columns of Table 4 and MNLI, QNLI and RTE of Table 2; its average is over these eight.
_ABLATIONS = (NO_AUXILIARY, NO_PRETRAINING, LSTM)


def _row(ours: float, before: float | None = None, *ablations: float) -> dict[str, float]:
    """Return the figures of one column, in points of a hundred, as shares."""
    told = {OURS: ours} | ({} if before is None else {BEFORE: before})
    told |= dict(zip(_ABLATIONS, ablations, strict=False))
    return {name: round(figure / 100, 4) for name, figure in told.items()}


PAPER: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("mnli", "accuracy"): _row(82.1, 80.6),  # Table 2
    ("mnli", "accuracy_mismatched"): _row(81.4, 80.1),
    ("mnli", "accuracy_mean"): _row(81.8, None, 81.1, 75.7, 73.7),  # Table 5
    ("snli", "accuracy"): _row(89.9, 89.3),
    ("scitail", "accuracy"): _row(88.3, 83.3),
    ("qnli", "accuracy"): _row(88.1, 82.3, 86.9, 71.2, 81.1),
    ("rte", "accuracy"): _row(56.0, 61.7, 54.4, 53.8, 54.6),
    ("story_cloze", "accuracy"): _row(86.5, 77.6),  # Table 3
    ("race", "accuracy_middle"): _row(62.9, 60.2),
    ("race", "accuracy_high"): _row(57.4, 50.3),
    ("race", "accuracy"): _row(59.0, 53.3),
    ("cola", "matthews"): _row(45.4, 35.0, 47.9, 18.9, 30.3),  # Tables 4 and 5
    ("sst2", "accuracy"): _row(91.3, 93.2, 92.0, 84.0, 90.5),
    ("mrpc", "f1"): _row(82.3, 86.0, 84.9, 79.4, 83.2),
    ("stsb", "pearson"): _row(82.0, 81.0, 83.2, 30.9, 71.8),
    ("qqp", "f1"): _row(70.3, 66.1, 69.8, 65.5, 68.1),
    ("glue", "average"): _row(72.8, 68.9),  # Table 4, all of GLUE
    ("glue", "average_table_5"): _row(74.7, None, 75.0, 59.9, 69.1),  # the eight of Table 5
}

TRANSFERRED_LAYERS: Mapping[str, tuple[float, ...]] = {
    # Figure 2, left: nothing transferred, the embeddings, then one block more at each step; validation sets
    "race": (
        0.396, 0.419, 0.410, 0.466, 0.483, 0.500, 0.530, 0.538, 0.540, 0.551, 0.562, 0.583, 0.589, 0.601,
    ),
    "mnli": (
        0.725, 0.752, 0.747, 0.775, 0.782, 0.782, 0.797, 0.802, 0.810, 0.813, 0.816, 0.820, 0.824, 0.824,
    ),
}  # fmt: skip
"""By task the accuracy after transferring 0, 1, 2 ... of the embeddings and the twelve blocks."""


@dataclass(frozen=True, kw_only=True)
class Heuristic:
    """A line of Figure 2, right: a task without fine-tuning, the metric of ours that is drawn, what guessing
    scores and the best before the paper; `ends` are those of the paper's networks after a million updates.

    The paper draws no scores but where they lie between the two, and does not print the scores themselves.
    """

    title: str
    metric: str
    guess: float
    best: float
    ends: Mapping[str, float]

    def normalised(self, score: float) -> float:
        """Return where a score lies: at 0 it is guessing's, at 1 the best before."""
        return (score - self.guess) / (self.best - self.guess)


def _heuristic(title: str, metric: str, guess: float, best: float, ours: float, lstm: float) -> Heuristic:
    return Heuristic(title=title, metric=metric, guess=guess, best=best, ends={OURS: ours, LSTM: lstm})


ZERO_SHOT: Mapping[str, Heuristic] = {
    "sst2_very": _heuristic(
        "sentiment analysis", "accuracy", 0.5, PAPER["sst2", "accuracy"][BEFORE], 0.68, 0.49
    ),
    "winograd": _heuristic(
        "Winograd schema resolution", "accuracy_partial", 0.5,
        paper.PAPER["winograd", "accuracy_partial"].before or 1.0, 0.54, 0.26,
    ),
    "cola_log_prob": _heuristic(
        "linguistic acceptability", "matthews", 0.0, PAPER["cola", "matthews"][BEFORE], 0.43, 0.37
    ),
    "race_log_prob": _heuristic(
        "question answering", "accuracy", 0.25, PAPER["race", "accuracy"][BEFORE], 0.25, 0.02
    ),
}  # fmt: skip
NORMALISED = (
    "0 is what guessing scores and 1 the best before the paper: of its own tables (RACE's is of nine "
    "networks together; the paper's is of a single one, which it does not print), and for Winograd, which "
    "stands in the place of DPRD, that of the GPT-2 paper's figure 3"
)
"""How scores without fine-tuning are told beside the paper's."""


def column(split: str, metric: str) -> str:
    """Return a metric's name in the tables, where MNLI's second test set has a column of its own."""
    return f"{metric}_mismatched" if split.endswith("mismatched") else metric


def figures(task: str, metric: str) -> Mapping[str, float]:
    """Return what the paper has for a metric of a task, by row of its tables; empty where it has nothing."""
    return PAPER.get((task, metric), {})
