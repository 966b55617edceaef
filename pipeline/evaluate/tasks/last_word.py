"""The last word of a passage, guessed from what comes before: LAMBADA's question, on passages of held-out
text.

Unlike LAMBADA (Paperno et al., 2016) no human has checked that the word can be guessed from the passage
alone, so figures compare models of ours with each other, not with LAMBADA's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import Schema, identity
from pipeline.evaluate.task import Example, LogLikelihood, Metric, Reply, Setting
from pipeline.metrics import clustered_mean, perplexity


class Config(Schema):
    """Passages cut from held-out documents."""

    split: str = identity("validation", description="split of the dataset")
    passages: int = identity(500, ge=1, description="passages at most, in the order of the documents")
    per_document: int = identity(4, ge=1, description="passages of one document at most")
    words: int = identity(60, ge=2, description="words of a passage at least, the last one included")
    letters: int = identity(5, ge=1, description="letters of the last word at least")

    def build(self, setting: Setting) -> LastWord:
        """Return the task."""
        return LastWord(self, setting)


@dataclass(frozen=True)
class Passage:
    """A piece of a document, cut before its last word; `seen` if the word stands in the piece too."""

    document: int
    text: str
    word: str
    seen: bool


class LastWord:
    """One example is one passage; its documents are the clusters of the standard errors."""

    name = "last_word"

    def __init__(self, config: Config, setting: Setting):
        self._config, self._setting = config, setting
        # A word of letters alone, after one space, that a blank or punctuation and a blank ends: a GPT-2
        # tokenizer then splits before it, so the ids of the parts are the ids of the whole.
        self._word = re.compile(rf"(?<=\S) ([^\W\d_]{{{config.letters},}})(?=[.,;:!?]?(?:\s|$))")
        self.data_sha256 = setting.split_sha256(config.split)
        self.protocol = (
            "LAMBADA-style, on passages cut from held-out documents (not LAMBADA): split "
            f"{config.split}, at most {config.passages} passages and {config.per_document} of a document, "
            f"{config.words} words or more, last word of {config.letters} letters or more; after end-of-text "
            f"and cut on the left to context {setting.n_ctx}; a hit is every token of the word being the "
            "likeliest; perplexity per word; word_seen and word_unseen: it occurs earlier in the passage or "
            "not; stderr clustered by document"
        )

    def examples(self) -> Sequence[Example]:
        """Return the passages."""
        found: list[Example] = []
        limit = min(self._config.passages, self._setting.limit or self._config.passages)
        for document, text in enumerate(self._setting.documents(self._config.split)):
            for passage in self._passages(document, text):
                found.append(Example(number=len(found), content=passage))
                if len(found) == limit:
                    return found
        return found

    def requests(self, example: Example) -> Sequence[LogLikelihood]:
        """Return the question for the last word."""
        passage: Passage = example.content
        encode, eot_id = self._setting.tokenizer.encode, self._setting.tokenizer.eot_id
        target = tuple(encode(f" {passage.word}"))
        context = (eot_id, *encode(passage.text))[-(self._setting.n_ctx + 1 - len(target)) :]
        return [LogLikelihood(context=context, target=target, greedy=True)]

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return the passage, whether the word was hit, and its nats."""
        passage: Passage = example.content
        return {
            "number": example.number,
            "document": passage.document,
            "passage": passage.text,
            "word": passage.word,
            "seen": passage.seen,
            "hit": replies[0].greedy,
            "nats": sum(replies[0].nats),
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return accuracy and perplexity: of all, and by whether the word occurs earlier."""
        kinds = {
            "": list(records),
            "_word_seen": [record for record in records if record["seen"]],
            "_word_unseen": [record for record in records if not record["seen"]],
        }
        return [metric for kind, chosen in kinds.items() if chosen for metric in self._figures(kind, chosen)]

    def _figures(self, kind: str, records: Sequence[dict[str, Any]]) -> list[Metric]:
        documents = [record["document"] for record in records]
        hits = clustered_mean([float(record["hit"]) for record in records], documents)
        loss = clustered_mean([record["nats"] for record in records], documents)
        return [
            Metric(name=f"accuracy{kind}", estimate=hits),
            Metric(name=f"perplexity{kind}", estimate=perplexity(loss)),
        ]

    def _passages(self, document: int, text: str) -> Iterator[Passage]:
        """Yield a document's passages: from where the last one ended to the first fit word far enough on."""
        starts = [match.start() for match in re.finditer(r"\S+", text)]
        first, given = 0, 0
        for match in self._word.finditer(text):
            words = sum(1 for start in starts[first : first + self._config.words] if start <= match.start(1))
            if words < self._config.words:
                continue
            piece = text[starts[first] : match.start()]
            word = match[1]
            seen = re.search(rf"\b{re.escape(word)}\b", piece, re.IGNORECASE) is not None
            yield Passage(document, piece, word, seen)
            given += 1
            first = next((n for n in range(first, len(starts)) if starts[n] > match.start(1)), len(starts))
            if given == self._config.per_document:
                return
