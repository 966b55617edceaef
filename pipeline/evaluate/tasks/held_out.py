"""How well held-out text is predicted: loss in nats per token, perplexity, bits per byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.config import Schema, identity
from pipeline.errors import ConfigError
from pipeline.evaluate.language import windows
from pipeline.evaluate.task import Example, LogLikelihood, Metric, Reply, Setting
from pipeline.metrics import bits_per_byte, perplexity, ratio


class Config(Schema):
    """Held-out documents, each scored alone."""

    split: str = identity("validation", description="split of the dataset")
    tokens: int | None = identity(
        None, ge=1, description="whole documents up to so many tokens; null for all"
    )
    stride: int | None = identity(
        None, ge=1, description="tokens that a window adds; null for the whole context"
    )

    def build(self, setting: Setting) -> HeldOut:
        """Return the task; ConfigError when the stride does not fit the model's context."""
        if self.stride is not None and self.stride > setting.n_ctx:
            raise ConfigError(f"tasks: held_out: stride {self.stride} is more than n_ctx ({setting.n_ctx})")
        return HeldOut(self, setting)


class HeldOut:
    """One example is one document: its tokens and the end of text after it, after the one before it."""

    name = "held_out"

    def __init__(self, config: Config, setting: Setting):
        self._config, self._setting = config, setting
        self._stride = config.stride or setting.n_ctx
        self.data_sha256 = setting.split_sha256(config.split)
        amount = "all documents" if config.tokens is None else f"documents up to {config.tokens} tokens"
        self.protocol = (
            f"split {config.split}, {amount}, each alone after end-of-text; its own end is scored too; "
            f"context {setting.n_ctx}, stride {self._stride}; bytes are UTF-8 bytes of text; stderr over "
            "documents"
        )

    def examples(self) -> Sequence[Example]:
        """Return the documents as ids."""
        tokenizer, tokens = self._setting.tokenizer, 0
        found: list[Example] = []
        for number, text in enumerate(self._setting.documents(self._config.split)):
            ids = tokenizer.encode(text)
            tokens += len(ids) + 1
            if number == self._setting.limit or (found and tokens > (self._config.tokens or tokens)):
                break
            found.append(Example(number=number, content=(ids, len(text.encode()))))
        return found

    def requests(self, example: Example) -> Sequence[LogLikelihood]:
        """Return the document's windows: each scores up to `stride` ids, after as many as fit before them."""
        ids, _ = example.content
        eot_id, n_ctx = self._setting.tokenizer.eot_id, self._setting.n_ctx
        stream = (eot_id, *ids, eot_id)
        return list(windows(stream, 1, len(stream), self._stride, n_ctx))

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return a document's nats, tokens and bytes."""
        ids, text_bytes = example.content
        return {
            "number": example.number,
            "nats": sum(sum(reply.nats) for reply in replies),
            "tokens": len(ids) + 1,
            "bytes": text_bytes,
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return loss, perplexity and bits per byte over all documents."""
        nats, tokens, text_bytes = (
            [record[key] for record in records] for key in ("nats", "tokens", "bytes")
        )
        loss = ratio(nats, tokens)
        return [
            Metric(name="loss", estimate=loss),
            Metric(name="perplexity", estimate=perplexity(loss)),
            Metric(name="bits_per_byte", estimate=bits_per_byte(nats, text_bytes)),
        ]
