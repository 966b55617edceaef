"""What of a context is put to the model when not all of it fits: its end, and never less than the target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ConfigError
from pipeline.evaluate.task import LogLikelihood, Metric, Reply
from pipeline.metrics import mean

CUT_RULE = (
    "a context that does not fit loses its beginning; a target that does not fit is read in windows, each "
    "after half a context"
)


def fitted(context: Sequence[int], after: int, n_ctx: int) -> tuple[int, ...]:
    """Return the end of a context (ids) that leaves room to read `after` more; one id at least."""
    return tuple(context[-max(n_ctx - after, 1) :])


def windows(context: Sequence[int], target: Sequence[int], n_ctx: int) -> list[LogLikelihood]:
    """Return what to ask to score a target (ids) after a context: once if both fit, else window by window.

    The last id of a window is predicted and not read, so that n_ctx + 1 ids fit.
    """
    stream = (*context, *target)
    first, asked = len(context), []
    while first < len(stream):
        begin = max(len(stream) - 1 - n_ctx, 0)
        if begin >= first:
            begin = max(first - max(n_ctx // 2, 1), 0)
        end = min(begin + n_ctx + 1, len(stream))
        asked.append(LogLikelihood(context=stream[begin:first], target=stream[first:end]))
        first = end
    return asked


@dataclass(frozen=True)
class OpenQuestion:
    """Ids to go on from, what to ask to know what a reference answer costs after them, and whether the
    beginning of the ids was cut."""

    prompt: tuple[int, ...]
    reference: tuple[LogLikelihood, ...]
    cut: bool


def open_question(
    prompt: Sequence[int], reference: Sequence[int], max_new_tokens: int, n_ctx: int
) -> OpenQuestion:
    """Return a question that leaves room for an answer, and for the reference (ids, too)."""
    kept = fitted(prompt, max_new_tokens, n_ctx)
    asked = windows(fitted(prompt, len(reference) - 1, n_ctx), reference, n_ctx)
    return OpenQuestion(kept, tuple(asked), cut=len(kept) < len(prompt))


def nats_of(replies: Iterator[Reply], asked: Sequence[LogLikelihood]) -> list[float]:
    """Return the nats of each id of a target, from the next replies: one for each of its windows."""
    return [nats for _ in asked for nats in next(replies).nats]


def check_room(task: str, max_new_tokens: int, n_ctx: int) -> None:
    """Raise ConfigError where an answer leaves no room for a question."""
    if max_new_tokens >= n_ctx:
        raise ConfigError(
            f"tasks: {task}: max_new_tokens is {max_new_tokens}, which leaves nothing of n_ctx ({n_ctx}) for "
            "the prompt"
        )


def cut_metric(records: Sequence[dict[str, Any]]) -> Metric:
    """Return the share of examples whose context was cut, by the mark `cut` in their records."""
    return Metric(name="context_cut", estimate=mean([float(record["cut"]) for record in records]))
