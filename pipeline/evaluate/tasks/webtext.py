"""How well documents that the model was trained on are predicted, and held-out ones of the same dataset: the
train and test perplexity of WebText in Figure 4 of the GPT-2 paper, here of the dataset in hand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import identity
from pipeline.evaluate.language import Windows, windows
from pipeline.evaluate.task import Example, LogLikelihood, Metric, Reply, Setting
from pipeline.metrics import bits_per_byte, perplexity, ratio


class Config(Windows):
    """As many tokens of either split; the paper does not say how many it took."""

    splits: list[str] = identity(["train", "test"], min_length=1, description="splits of the dataset")
    tokens: int = identity(1_000_000, ge=1, description="whole documents of a split up to so many tokens")

    def build(self, setting: Setting) -> WebText:
        """Return the task; MissingSet where no dataset was given."""
        return WebText(self, setting)


@dataclass(frozen=True)
class Document:
    """A document's split, text and ids."""

    split: str
    text: str
    ids: tuple[int, ...]


class WebText:
    """One example is one document: its tokens and the end of text after it, after the one before it."""

    name = "webtext"

    def __init__(self, config: Config, setting: Setting):
        self._config, self._setting = config, setting
        self._window, self._stride = config.sizes(self.name, setting)
        sums = "\n".join(setting.split_sha256(split) for split in config.splits)
        self.data_sha256 = hashlib.sha256(sums.encode()).hexdigest()
        self.protocol = (
            f"splits {' and '.join(config.splits)} of the dataset, documents up to {config.tokens} tokens of "
            f"each, in its order, each alone after end-of-text; its own end is scored too; context "
            f"{self._window}, stride {self._stride}; stderr over documents"
        )

    def examples(self) -> Sequence[Example]:
        """Return the documents of each split; as many of each at most as the limit says."""
        found = [document for split in self._config.splits for document in self._documents(split)]
        return [Example(number=number, content=document) for number, document in enumerate(found)]

    def requests(self, example: Example) -> Sequence[LogLikelihood]:
        """Return the document's windows."""
        document: Document = example.content
        eot_id = self._setting.tokenizer.eot_id
        stream = (eot_id, *document.ids, eot_id)
        return list(windows(stream, 1, len(stream), self._stride, self._window))

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return what a document cost."""
        document: Document = example.content
        return {
            "number": example.number,
            "split": document.split,
            "text": document.text,
            "nats": sum(sum(reply.nats) for reply in replies),
            "tokens": len(document.ids) + 1,
            "bytes": len(document.text.encode()),
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return perplexity and bits per byte of each split."""
        found = []
        for split in self._config.splits:
            if not (chosen := [record for record in records if record["split"] == split]):
                continue
            nats, tokens, text_bytes = (
                [record[key] for record in chosen] for key in ("nats", "tokens", "bytes")
            )
            found += [
                Metric(name=f"perplexity_{split}", estimate=perplexity(ratio(nats, tokens))),
                Metric(name=f"bits_per_byte_{split}", estimate=bits_per_byte(nats, text_bytes)),
            ]
        return found

    def _documents(self, split: str) -> Iterator[Document]:
        tokens = 0
        for number, text in enumerate(self._setting.documents(split)):
            ids = self._setting.tokenizer.encode(text)
            tokens += len(ids) + 1
            if number == self._setting.limit or (number and tokens > self._config.tokens):
                return
            yield Document(split, text, tuple(ids))
