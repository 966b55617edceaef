"""How well predictions meet the labels of a dataset: the figures of the paper's tables, with their errors."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pipeline import answers, metrics
from pipeline.errors import FormatError
from pipeline.finetune.dataset import Choice, Dataset, Example, Span
from pipeline.formats import paper_gpt1
from pipeline.formats.results import Result
from pipeline.metrics import Estimate

CORRELATIONS = ("matthews", "pearson", "spearman")
Prediction = int | float | str
"""The number of a class or an answer, a score, or the text of a span."""


def figures(
    dataset: Dataset, examples: Sequence[Example], predictions: Sequence[Prediction]
) -> dict[str, Estimate]:
    """Return the dataset's metrics, in their order; and of each group, as `accuracy_high`, if there are more.

    Raises ValueError unless there is one prediction for each example, FormatError for an example without a
    label.
    """
    if len(examples) != len(predictions):
        raise ValueError(f"{len(predictions)} predictions for {len(examples)} examples")
    secret = next((example for example in examples if not example.labelled), None)
    if secret:
        raise FormatError(
            f"{secret.place}: no label, so nothing to judge by; predict, but judge another split"
        )
    found = {name: METRICS[name](examples, predictions) for name in dataset.metrics}
    groups = sorted({example.group for example in examples})
    for group in groups if len(groups) > 1 else ():
        chosen = [place for place, example in enumerate(examples) if example.group == group]
        of_group = [examples[place] for place in chosen], [predictions[place] for place in chosen]
        found |= {f"{name}_{group}": METRICS[name](*of_group) for name in dataset.metrics}
    return found


def guessed(dataset: Dataset, examples: Sequence[Example]) -> dict[str, float]:
    """Return what guessing scores: always the commonest class; of answers any; for F1 always class 1.

    Nothing for spans, of which there are too many to guess one.
    """
    labels = [example.label for example in examples if example.label is not None]
    if not labels or dataset.kind == "span":
        return {}
    shares = {label: count / len(labels) for label, count in Counter(labels).items()}
    answers_a_question = {len(example.answers) for example in examples if isinstance(example, Choice)}
    found = dict.fromkeys(CORRELATIONS, 0.0)
    found["f1"] = 2 * shares.get(1, 0.0) / (1 + shares.get(1, 0.0))
    if dataset.kind != "choice":
        found["accuracy"] = max(shares.values())
    elif len(answers_a_question) == 1:
        found["accuracy"] = 1 / answers_a_question.pop()
    return {name: found[name] for name in dataset.metrics if name in found}


def with_mean(results: Sequence[Result]) -> list[Result]:
    """Return results with the mean of both of MNLI's validation sets, which Table 5 has, where they are."""
    found = {result.subset: result for result in results if result.metric == "accuracy"}
    both = [found[split] for split in ("validation", "validation_mismatched") if split in found]
    if len(both) < 2:  # noqa: PLR2004 - both
        return list(results)
    errors = [result.stderr for result in both if result.stderr is not None]
    task = both[0].task.rpartition("/")[2]
    mean_of_both = replace(
        both[0],
        metric="accuracy_mean",
        value=math.fsum(result.value for result in both) / 2,
        stderr=math.hypot(*errors) / 2 if len(errors) == len(both) else None,
        num_examples=sum(result.num_examples for result in both),
        paper=dict(paper_gpt1.figures(task, "accuracy_mean")),
    )
    return [*results, mean_of_both]


def _accuracy(examples: Sequence[Example], predictions: Sequence[Prediction]) -> Estimate:
    hits = [example.label == found for example, found in zip(examples, predictions, strict=True)]
    return _mean([float(hit) for hit in hits], examples)


def _f1(examples: Sequence[Example], predictions: Sequence[Prediction]) -> Estimate:
    """Return the F1 of class 1; of spans the mean over questions of the words' F1."""
    if isinstance(examples[0], Span):
        return _of_spans(answers.f1, examples, predictions)
    return metrics.f1_binary(
        [example.label == 1 for example in examples], [found == 1 for found in predictions]
    )


def _exact_match(examples: Sequence[Example], predictions: Sequence[Prediction]) -> Estimate:
    return _of_spans(answers.exact_match, examples, predictions)


def _matthews(examples: Sequence[Example], predictions: Sequence[Prediction]) -> Estimate:
    return metrics.matthews(
        [example.label == 1 for example in examples], [found == 1 for found in predictions]
    )


def _pearson(examples: Sequence[Example], predictions: Sequence[Prediction]) -> Estimate:
    return metrics.pearson(*_scores(examples, predictions))


def _spearman(examples: Sequence[Example], predictions: Sequence[Prediction]) -> Estimate:
    return metrics.spearman(*_scores(examples, predictions))


METRICS: Mapping[str, Callable[[Sequence[Example], Sequence[Prediction]], Estimate]] = {
    "accuracy": _accuracy,
    "exact_match": _exact_match,
    "f1": _f1,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}


def _scores(
    examples: Sequence[Example], predictions: Sequence[Prediction]
) -> tuple[list[float], list[float]]:
    return [float(example.label or 0) for example in examples], [float(found) for found in predictions]


def _of_spans(
    score: Callable[[str, Sequence[str]], float],
    examples: Sequence[Example],
    predictions: Sequence[Prediction],
) -> Estimate:
    scores = [
        score(str(found), [text for _, text in example.answers])
        for example, found in zip(examples, predictions, strict=True)
        if isinstance(example, Span)
    ]
    return _mean(scores, examples)


def _mean(scores: Sequence[float], examples: Sequence[Example]) -> Estimate:
    """Return the mean, with an error for draws of whole clusters; an example without one is its own."""
    clusters = [example.cluster or place for place, example in enumerate(examples)]
    return metrics.clustered_mean(scores, clusters)
