"""A text scored in windows of any stride: what all tasks that measure perplexity share.

A text is one stream of ids after end-of-text. A window scores up to `stride` ids after as many ids before
them as the context holds, so every id is scored once, and a shorter stride buys more context for each.
Losses are summed and divided by the units of the original text, its words or bytes (GPT-2 paper, section
3.1), whatever text the model was given in its stead and however its tokenizer cut it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from model.tokenizer import Tokenizer
from pipeline.config import Schema, identity
from pipeline.errors import ConfigError
from pipeline.evaluate.original import Counts, Text
from pipeline.evaluate.task import Example, LogLikelihood, Metric, Reply, Setting
from pipeline.metrics import Estimate, bits_per_byte, perplexity, ratio

PAPER_WINDOW = 1024
"""Context of all models of the GPT-2 paper (section 2.3)."""


class Windows(Schema):
    """How a text is cut; the paper gives the context but not the stride."""

    window: int = identity(PAPER_WINDOW, ge=1, description="tokens of context; less where the model has less")
    stride: int | None = identity(
        None, ge=1, description="tokens that a window scores; null for the whole window"
    )

    def sizes(self, name: str, setting: Setting) -> tuple[int, int]:
        """Return context and stride; ConfigError, naming the task, when the stride does not fit."""
        window = min(self.window, setting.n_ctx)
        if self.stride is not None and self.stride > window:
            raise ConfigError(f"tasks: {name}: stride {self.stride} is more than the context ({window})")
        return window, self.stride or window


def windows(stream: Sequence[int], first: int, last: int, stride: int, n_ctx: int) -> Iterator[LogLikelihood]:
    """Yield the windows that score the ids of a stream from `first` (at least 1) up to `last`."""
    for start in range(first, last, stride):
        end = min(start + stride, last)
        yield LogLikelihood(
            context=tuple(stream[max(end - 1 - n_ctx, 0) : start]), target=tuple(stream[start:end])
        )


@dataclass(frozen=True)
class Span:
    """Ids of a stream from `first` on, with the ids before them that a window may hold, and how many units of
    the original end with them; `text` is what the ids say."""

    text: str
    ids: tuple[int, ...]
    first: int
    units: Mapping[str, int]


def spans(
    text: Text, tokenizer: Tokenizer, id_bytes: Counts, n_ctx: int, length: int | None
) -> Iterator[Span]:
    """Yield a text's stream in spans of so many ids, None for one; `id_bytes` are the bytes of each id."""
    ids = tokenizer.encode(text.text)
    stream = (tokenizer.eot_id, *ids)
    places = _places(id_bytes[np.asarray(ids, dtype=np.int64)], len(text.text.encode()))
    for first in range(1, len(stream), length or len(stream)):
        last = min(first + (length or len(stream)), len(stream))
        start, end = places[first - 1], places[last - 1]
        begin = max(first - n_ctx, 0)
        yield Span(
            text=tokenizer.decode(stream[first:last]),
            ids=stream[begin:last],
            first=first - begin,
            units={unit: int(counts[end] - counts[start]) for unit, counts in text.counts.items()},
        )


def _places(lengths: Counts, text_bytes: int) -> Counts:
    """Return after how many bytes of the text each id begins, and the last one ends.

    GPT-1's ids do not spell the text that they were cut from; there the bytes are in proportion.
    """
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return ends if ends[-1] == text_bytes else (ends * (text_bytes / ends[-1])).round().astype(np.int64)


class LanguageTask:
    """The task of predicting one text, or several that do not see each other.

    One example is one of several texts, or of a single one a span: whole strides, a context long at least.
    `word_perplexity` is per unit of the original, `token_perplexity` per token of the model.
    """

    def __init__(
        self,
        name: str,
        protocol: str,
        data_sha256: str,
        texts: Sequence[Text],
        sizes: tuple[int, int],
        setting: Setting,
    ):
        self.name, self.data_sha256 = name, data_sha256
        self._texts, self._setting = texts, setting
        self._window, self._stride = sizes
        several = len(texts) > 1
        self._length = None if several else self._stride * -(-self._window // self._stride)
        self.protocol = (
            f"{protocol}; after end-of-text, whose loss is not counted; context {self._window}, stride "
            f"{self._stride}; stderr over {'texts' if several else f'stretches of {self._length} tokens'}"
        )

    def examples(self) -> Sequence[Example]:
        """Return the spans in the order of the text."""
        tokenizer = self._setting.tokenizer
        id_bytes = np.asarray(tokenizer.byte_lengths(), dtype=np.int64)
        found = (
            span
            for text in self._texts
            for span in spans(text, tokenizer, id_bytes, self._window, self._length)
        )
        return [
            Example(number=number, content=span)
            for number, span in enumerate(islice(found, self._setting.limit))
        ]

    def requests(self, example: Example) -> Sequence[LogLikelihood]:
        """Return the span's windows."""
        span: Span = example.content
        return list(windows(span.ids, span.first, len(span.ids), self._stride, self._window))

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return what a span cost, and what it stands for."""
        span: Span = example.content
        return {
            "number": example.number,
            "text": span.text,
            "nats": sum(sum(reply.nats) for reply in replies),
            "tokens": len(span.ids) - span.first,
            **span.units,
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return the perplexities and bits that the units counted make possible."""
        nats = [record["nats"] for record in records]
        found = []
        for unit, name, figure in _FIGURES:
            counts = [record.get(unit, 0) for record in records]
            if sum(counts):
                found.append(Metric(name=name, estimate=figure(nats, counts)))
        return found


def _perplexity(nats: Sequence[float], units: Sequence[float]) -> Estimate:
    return perplexity(ratio(nats, units))


_FIGURES = (
    ("words", "word_perplexity", _perplexity),
    ("tokens", "token_perplexity", _perplexity),
    ("bytes", "bits_per_byte", bits_per_byte),
    ("characters", "bits_per_character", bits_per_byte),
)
