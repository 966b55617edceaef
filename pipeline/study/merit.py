"""What the name of a metric says of it: which way is better, what guessing gives, and where it ends."""

from __future__ import annotations

from typing import Literal

Better = Literal["lower", "higher"]

LOSSES = ("loss", "bits_per_")
COSTS = (*LOSSES, "perplexity", "word_perplexity", "token_perplexity", "byte_perplexity")
SHARES = ("accuracy", "acc", "f1", "exact_match")
SCORES = ("matthews", "pearson", "spearman", "bleu", "sentence_bleu", "rouge")
"""How the names of metrics begin; all others tell what a model is like and not how good it is."""
CHANCE = {  # what guessing among the choices gives, as a share; a task that is not here has a chance of none
    "arc_challenge": 0.25,
    "arc_easy": 0.25,
    "cbt_cn": 0.1,
    "cbt_ne": 0.1,
    "hellaswag": 0.25,
    "openbookqa": 0.25,
    "piqa": 0.5,
    "race": 0.25,
    "race_log_prob": 0.25,
    "story_cloze": 0.5,
    "winograd": 0.5,
    "winogrande": 0.5,
    "wsc273": 0.5,
}
GUESSED = {  # share of the commonest class of a labelled validation set; of choices, of any answer
    "cola": 0.6894,  # in and out of domain
    "mnli": 0.3545,
    "mrpc": 0.6838,
    "qnli": 0.5054,
    "qqp": 0.6318,
    "race": 0.25,
    "rte": 0.5271,
    "scitail": 0.5038,
    "snli": 0.3382,
    "sst2": 0.5092,
    "story_cloze": 0.5,
}
GUESSED_F1 = {"mrpc": 0.8122, "qqp": 0.5382}  # what always saying yes scores
CORRELATIONS = ("matthews", "pearson", "spearman")


def better(metric: str) -> Better | None:
    """Return which way `task.metric` is better; None where neither is."""
    name = _name(metric)
    if name.startswith(COSTS):
        return "lower"
    return "higher" if name.startswith((*SHARES, *SCORES)) else None


def chance(metric: str) -> float | None:
    """Return what guessing gives on `task.metric`, or None where it is not known."""
    start, _, dataset = task(metric).partition(".")
    if start == "finetune":
        return _guessed(dataset, _name(metric))
    if not _name(metric).startswith(("accuracy", "acc")):
        return None
    return CHANCE.get(task(metric).removeprefix("harness/"))


def ceiling(metric: str) -> float | None:
    """Return the best that `task.metric` can be, or None where it has no end that is met."""
    return 1.0 if is_share(metric) else None


def is_share(metric: str) -> bool:
    """Whether `task.metric` is a share of right answers."""
    return _name(metric).startswith(SHARES)


def task(metric: str) -> str:
    """Return the task of `task.metric`."""
    return metric.rpartition(".")[0]


def fact(metric: str) -> str:
    """Return what `task.metric` shares with those that tell the same of a task in another unit or in part."""
    name = _name(metric)
    if name.startswith(LOSSES):
        return f"{task(metric)}.loss"
    if "perplexity" in name:
        return f"{task(metric)}.perplexity"
    whole = next((score for score in (*SHARES, *SCORES) if name.startswith(f"{score}_")), name)
    return f"{task(metric)}.{whole}"


def _guessed(dataset: str, name: str) -> float | None:
    """Return what always the commonest class scores on the validation set that was published."""
    if name in CORRELATIONS:
        return 0.0
    by_dataset = GUESSED_F1 if name == "f1" else GUESSED if name.startswith("accuracy") else {}
    return by_dataset.get(dataset)


def _name(metric: str) -> str:
    return metric.rpartition(".")[2]
