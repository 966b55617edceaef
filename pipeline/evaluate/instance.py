"""What an instance of lm-eval asks, as requests of ours, and our replies as the answer that it waits for.

The tokens are those that lm-eval's own model class for causal networks would score: a blank before the
continuation belongs to it, an empty context is the end of text, and a long text is scored in windows that
fill the context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ConfigError
from pipeline.evaluate.task import Generation, LogLikelihood, Reply, Request, Setting

SAMPLED = frozenset({"do_sample", "temperature", "top_k", "top_p", "until", "max_gen_toks"})
"""The keys of a generation that have a meaning here; any other would be lost without a word."""


@dataclass(frozen=True)
class Asked:
    """The requests that an instance comes to, and whether its context lost its beginning."""

    requests: tuple[Request, ...]
    cut: bool = False


def asked_by(instance: Any, setting: Setting, seed: int) -> Asked:
    """Return what an instance asks, drawn by `seed` if it is to be drawn.

    Raises ConfigError for a kind of request, or a key of a generation, that is not known here.
    """
    match instance.request_type:
        case "loglikelihood":
            context, target = _pair(setting, *instance.args[:2])
            windows = tuple(_windows(context, target, setting.n_ctx))
            room = setting.n_ctx + 1 - min(len(target), setting.n_ctx)
            return Asked(windows, cut=len(context) > room)
        case "loglikelihood_rolling":
            ids = tuple(setting.tokenizer.encode(instance.args[0]))
            return Asked(tuple(_windows((setting.tokenizer.eot_id,), ids, setting.n_ctx)))
        case "generate_until":
            return _generation(setting, seed, *instance.args[:2])
    raise ConfigError(f"harness: {instance.task_name}: {instance.request_type} is no request known here")


def answer(instance: Any, replies: Sequence[Reply]) -> Any:
    """Return a log-likelihood in nats with whether greedy search would write the same, or a text.

    The log-likelihood of an empty text is 0.
    """
    if instance.request_type == "generate_until":
        return replies[0].text
    likelihood = -sum(sum(reply.nats) for reply in replies)
    if instance.request_type == "loglikelihood_rolling":
        return likelihood
    return likelihood, all(reply.greedy for reply in replies)


def _pair(setting: Setting, context: str, continuation: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids of a context, never none, and those that continue it in the tokens of the whole."""
    encode = setting.tokenizer.encode
    before = context.rstrip()
    known = encode(before)
    whole = encode(context + continuation)
    return tuple(known) or (setting.tokenizer.eot_id,), tuple(whole[len(known) :])


def _windows(context: tuple[int, ...], target: tuple[int, ...], n_ctx: int) -> Iterator[LogLikelihood]:
    """Yield a target in pieces of the model's context, each after as many ids as fit before it."""
    for start in range(0, len(target), n_ctx):
        piece = target[start : start + n_ctx]
        before = context + target[:start]
        yield LogLikelihood(context=before[-(n_ctx + 1 - len(piece)) :], target=piece, greedy=True)


def _generation(setting: Setting, seed: int, context: str, given: dict[str, Any]) -> Asked:
    from lm_eval.models.utils import normalize_gen_kwargs

    asked: dict[str, Any] = dict(normalize_gen_kwargs(given))
    if asked.get("num_beams") == 1:
        del asked["num_beams"]  # which is none
    if unknown := sorted(set(asked) - SAMPLED):
        raise ConfigError(f"harness: generation_kwargs: {', '.join(unknown)} has no meaning here; remove it")
    drawn = bool(asked["do_sample"])
    eot_id = setting.tokenizer.eot_id
    ids = tuple(setting.tokenizer.encode(context)) or (eot_id,)
    # lm-eval gives up where a reply may fill the context; here half of it is kept for the question.
    longest = min(asked["max_gen_toks"], setting.n_ctx // 2)
    room = setting.n_ctx - longest
    request = Generation(
        prompt=ids[-room:],
        max_new_tokens=longest,
        seed=seed,
        temperature=float(asked.get("temperature", 1.0)) if drawn else 0.0,
        top_k=asked.get("top_k") if drawn else None,
        top_p=asked.get("top_p") if drawn else None,
        stop_ids=(eot_id,),
        stop=tuple(filter(None, asked["until"])),
    )
    return Asked((request,), cut=len(ids) > room)
