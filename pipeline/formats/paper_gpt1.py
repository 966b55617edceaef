"""The figures of GPT-1's paper (Radford et al., 2018), where fine-tuning and the report both find them.

Shares are shares here (0.454) where the paper prints 45.4. Tables 2 to 4 are of test sets (GLUE's by its
server), each beside the best before it. The ablations of Table 5 are of GLUE too, with MNLI the mean of its
two test sets. Figure 2 was read off the drawing, to 0.003.
"""

from collections.abc import Mapping

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


def figures(task: str, metric: str) -> Mapping[str, float]:
    """Return what the paper has for a metric of a task, by row of its tables; empty where it has nothing."""
    return PAPER.get((task, metric), {})
