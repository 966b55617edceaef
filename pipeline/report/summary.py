"""What the reader should know who reads no further: at most three sentences, the result first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipeline.formats.manifest import Manifest
from pipeline.report import numbers
from pipeline.report.curves import size_label
from pipeline.report.evaluation import scores_of, words
from pipeline.report.funnel import units
from pipeline.report.sources import Sources
from pipeline.report.studied import Study

TITLES = {
    "dataset": "Dataset",
    "run": "Training run",
    "finetuning": "Fine-tuning",
    "study": "Scaling study",
    "comparison": "Comparison",
    "sweep": "Learning-rate sweep",
    "quickstart": "Quickstart",
    "results": "Evaluation",
}
HEADLINES = {"quickstart": "From links to a scaling law"}


def title(sources: Sources) -> tuple[str, str]:
    """Return the kind of report and its headline."""
    return TITLES[sources.kind], HEADLINES.get(sources.kind, sources.root.resolve().name)


def sentences(sources: Sources) -> list[str]:
    """Return the sentences that the files support."""
    said = []
    if sources.study and sources.study.verdict:
        said += [_prediction(sources.study.verdict), _ladder(sources.study)]
    elif sources.study or (sources.kind == "sweep" and not (sources.sweep and sources.sweep.verdict)):
        said.append("The study is not finished: there is no verdict yet.")
    if sources.kind == "sweep" and sources.sweep and sources.sweep.verdict:
        said.append(_sweep(sources.sweep.verdict))
    if sources.kind == "run":
        said.append(_run(sources))
    if sources.kind == "comparison":
        said += _comparison(sources)
    if sources.kind == "finetuning":
        said.append(_finetuning(sources))
    if sources.kind == "results":
        said.append(_results(sources))
    if sources.dataset:
        said.append(_dataset(sources.manifest, sources) if sources.manifest else _unfinished(sources))
    return [sentence for sentence in said if sentence]


def _prediction(verdict: Mapping[str, Any]) -> str:
    held = verdict.get("held_out")
    if not held:
        return ""
    when = (
        "before it was trained" if held["predicted_before_training"] else "but only after it had been trained"
    )
    noises = held.get("error_in_noise")
    distance = "" if numbers.is_missing(noises) else f", {noises:.1f} times the scatter of one run away"
    interval = (
        ""
        if numbers.is_missing(held["low"])
        else f" (95 % interval {numbers.interval((held['low'], held['high']))})"
    )
    outcome = "met" if verdict.get("passed") else "not met"
    return (
        f"The {held['form']} law of the smaller models predicted {numbers.number(held['predicted'])}"
        f"{interval} {words(verdict['metric'])} for the largest, {when}; it scored "
        f"{numbers.number(held['observed'])}{distance}, and the success rule set beforehand was {outcome}."
    )


def _ladder(study: Study) -> str:
    sizes = study.verdict.get("sizes") or []
    if len(sizes) < 2:
        return ""
    first, last = sizes[0], sizes[-1]
    low, high = first["params_non_embedding"], last["params_non_embedding"]
    runs = sum(len(size["values"]) for size in sizes)
    steps, wrong = len(sizes) - 1, len(study.verdict["inversions"])
    return (
        f"The ladder has {len(sizes)} sizes from {numbers.short(low)} to {numbers.short(high)} non-embedding "
        f"parameters ({math.log10(high / low):.1f} decades, {runs} runs of {numbers.short(last['tokens'])} "
        f"tokens), and larger was better in {steps - wrong} of {steps} steps."
    )


def _sweep(verdict: Mapping[str, Any]) -> str:
    best = ", ".join(f"{numbers.number(one['best'], 3)} at width {one['width']}" for one in verdict["widths"])
    return f"The best peak learning rates by {words(verdict['metric'])} are {best}."


def _run(sources: Sources) -> str:
    trained = sources.runs[0]
    rows = [row for row in trained.run.rows() if not numbers.is_missing(row.get("validation_loss"))]
    state = "finished" if trained.run.finished else "unfinished"
    size = f"A model of {numbers.count(trained.params)} parameters ({size_label(trained)})"
    if not rows:
        return f"{size}, {state}; no validation loss yet."
    last = rows[-1]
    loss = numbers.measured(last["validation_loss"], last.get("validation_stderr"))
    return f"{size}, {state}: validation loss {loss} after {numbers.count(last.get('tokens'))} tokens."


def _comparison(sources: Sources) -> list[str]:
    content = sources.extra("comparison.json")
    if content is None:
        return ["The study is not finished: there is no comparison yet."]
    return list(map(numbers.typeset, content["summary"][:1]))  # the section has them all


def _finetuning(sources: Sources) -> str:
    content = sources.extra("summary.json")
    seeds = f"{len(sources.runs)} {'seed' if len(sources.runs) == 1 else 'seeds'}"
    if content is None:
        return f"{seeds} begun, not finished."
    figure = next(each for each in content["figures"] if each["split"] == "validation")
    chance = figure["chance"]
    beside = "" if chance is None else f", where guessing gives {numbers.number(chance)}"
    name = figure["metric"].replace("_", " ")
    return (
        f"{content['task'].partition('/')[2]}: {name} {numbers.measured(figure['median'], figure['stderr'])}"
        f" on the validation split, the median of {seeds}{beside}."
    )


def _results(sources: Sources) -> str:
    scores = [score for trained in sources.runs for score in scores_of(trained)]
    tasks, models = {score.task for score in scores}, [trained.name for trained in sources.runs]
    who = models[0] if len(models) == 1 else f"{len(models)} checkpoints"
    return f"{who} on {len(tasks)} {'task' if len(tasks) == 1 else 'tasks'}, {len(scores)} figures."


def _unfinished(sources: Sources) -> str:
    if not sources.phases:
        return "The dataset is being built; no phase is finished yet."
    last = sources.phases[-1]
    left = f"{numbers.count(last['documents_out'])} {units(last)[1]}"
    return f"The dataset is being built; the last phase that is finished, {last['name']}, left {left}."


def _dataset(manifest: Manifest, sources: Sources) -> str:
    documents = sum(shard.documents for shards in manifest.splits.values() for shard in shards)
    tokens = sum(manifest.tokens(split) for split in manifest.splits)
    kept = f"{numbers.count(documents)} documents, {numbers.short(tokens)} tokens"
    total = (sources.extra("environment.json") or {}).get("total_seconds")
    took = "" if numbers.is_missing(total) else f"; everything on this page took {numbers.duration(total)}"
    if not manifest.phases:
        return f"The corpus holds {kept}{took}."
    first = manifest.phases[0]
    whole = f"{numbers.count(first['documents_in'])} {units(first)[0]}"
    return f"The corpus was made from {whole} and kept {kept}{took}."
