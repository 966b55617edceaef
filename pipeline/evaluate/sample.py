"""Texts from a checkpoint, piece by piece: `loglinear sample`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError
from pipeline.evaluate.text import ReplyText
from pipeline.formats.subject import locate

if TYPE_CHECKING:
    from model.config import GPTConfig
    from model.tokenizer import Tokenizer


def stream(
    checkpoint: Path,
    prompts: Sequence[str] = ("",),
    *,
    samples: int = 1,
    max_new_tokens: int = 100,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
) -> Iterator[tuple[int, str]]:
    """Yield texts in pieces, each with its text's number: `samples` texts for each prompt, which begins them.

    All are written side by side; the pieces of the first come as they are written, those of each next one
    once the texts before it are over. A text ends with its document, before a stop string, or after
    `max_new_tokens`; text n is drawn by `seed` + n. A prompt too long for the context loses its beginning.
    Raises ConfigError for a path that holds no weights, or for numbers that do not fit.
    """
    subject = locate(checkpoint)
    import torch  # after the path is known to be good

    from model import generate
    from pipeline.evaluate.network import load, load_tokenizer

    if samples < 1 or not prompts or "" in stop:
        raise ConfigError("sample: give one sample or more, one prompt or more, no empty stop string")
    try:
        sampling = generate.Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    except ValueError as fault:
        raise ConfigError(str(fault)) from None
    tokenizer = load_tokenizer(subject)
    network = load(subject, device, "fp32", tokenizer)
    if network.config.architecture == "lstm":
        raise ConfigError(f"checkpoint: {subject.path} is an LSTM, which writes no text here; give another")
    beginnings = [tokenizer.encode(prompt) for prompt in prompts for _ in range(samples)]
    texts = [ReplyText(stop) for _ in beginnings]

    def ended(number: int, id: int) -> bool:
        texts[number].add(tokenizer.decode_bytes([id]))
        return texts[number].over

    steps = generate.stream(
        network,
        [_prompt(ids, tokenizer, network.config, max_new_tokens) for ids in beginnings],
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        generators=[torch.Generator().manual_seed(seed + number) for number in range(len(texts))],
        stop_ids=(tokenizer.eot_id,),
        ended=ended,
    )
    yield from _in_order([tokenizer.decode(ids) for ids in beginnings], texts, steps)


def show(checkpoint: Path, prompts: Sequence[str], **options: Any) -> Iterator[str]:
    """Yield what `stream` does for a person to read: several texts each below a line with its number."""
    several = len(prompts) * options.get("samples", 1) > 1
    current = -1
    for number, piece in stream(checkpoint, prompts, **options):
        if several and number != current:
            yield f"{'' if number == 0 else chr(10)}--- {number + 1}\n"
        current = number
        yield piece


def _prompt(ids: Sequence[int], tokenizer: Tokenizer, config: GPTConfig, max_new_tokens: int) -> list[int]:
    """Return the ids that the network goes on from, as many as the context has room for."""
    room = config.n_ctx - max_new_tokens
    if not 0 < room < config.n_ctx:
        raise ConfigError(
            f"tokens: {max_new_tokens} new ones do not fit a context of {config.n_ctx}; "
            f"ask for 1 to {config.n_ctx - 1}"
        )
    # GPT-1 knows no id that begins a text, and OpenAI's never saw the one that ends ours.
    begins_bare = config.architecture == "gpt1" and ids
    return [*([] if begins_bare else [tokenizer.eot_id]), *ids][-room:]


def _in_order(
    beginnings: Sequence[str], texts: Sequence[ReplyText], steps: Iterator[list[int | None]]
) -> Iterator[tuple[int, str]]:
    """Yield what becomes certain of each text, in their order, letting all of them grow by steps."""
    for number, (beginning, text) in enumerate(zip(beginnings, texts, strict=True)):
        yield number, beginning
        while True:
            if piece := text.take():
                yield number, piece
            if text.over:
                break
            given = next(steps, [None] * len(texts))
            for each, id in zip(texts, given, strict=True):
                if id is None:
                    each.close()
