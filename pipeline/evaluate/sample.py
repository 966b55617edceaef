"""Text from a checkpoint, piece by piece: `loglinear sample`."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.evaluate.subject import locate


def stream(
    checkpoint: Path,
    prompt: str,
    *,
    max_new_tokens: int = 100,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Iterator[str]:
    """Yield the prompt, then the text that goes on from it, in whole characters as they come.

    It ends with the document or after `max_new_tokens`. A prompt too long for the context loses its
    beginning. Raises ConfigError for a path that holds no weights, or for numbers that do not fit.
    """
    subject = locate(checkpoint)
    import torch  # after the path is known to be good

    from model import generate
    from pipeline.evaluate.network import load, load_tokenizer

    tokenizer, network = load_tokenizer(subject), load(subject, device, "fp32")
    n_ctx, eot_id = network.config.n_ctx, tokenizer.eot_id
    if not 0 < max_new_tokens < n_ctx:
        raise ConfigError(
            f"tokens: {max_new_tokens} new ones do not fit a context of {n_ctx}; ask for 1 to {n_ctx - 1}"
        )
    try:
        sampling = generate.Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    except ValueError as fault:
        raise ConfigError(str(fault)) from None
    ids = (eot_id, *tokenizer.encode(prompt))[-(n_ctx - max_new_tokens) :]
    pieces = generate.stream(
        network,
        [ids],
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        generators=[torch.Generator().manual_seed(seed)],
        stop_ids=(eot_id,),
    )
    yield prompt
    yield from _characters(tokenizer.decode_bytes([id]) for (id,) in pieces if id is not None)


def sample(checkpoint: Path, prompt: str, **options: object) -> str:
    """Return prompt and continuation as one text; see `stream` for the options."""
    return "".join(stream(checkpoint, prompt, **options))  # type: ignore[arg-type]


def _characters(pieces: Iterator[bytes]) -> Iterator[str]:
    """Yield the text of bytes that may break off within a character; what is not UTF-8 becomes U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for piece in pieces:
        if text := decoder.decode(piece):
            yield text
    if rest := decoder.decode(b"", final=True):
        yield rest
