"""Summaries of news, asked for by `TL;DR:` and scored by ROUGE (GPT-2 paper, section 3.6 and Table 4)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal

from pipeline.config import Schema, identity
from pipeline.evaluate.articles import SOURCE, Article
from pipeline.evaluate.context import cut_metric, windows
from pipeline.evaluate.rouge import Rouge
from pipeline.evaluate.sentences import RULE as SENTENCE_RULE
from pipeline.evaluate.sentences import sentences
from pipeline.evaluate.task import Example, Generation, LogLikelihood, Metric, Reply, Setting
from pipeline.metrics import bits_per_byte, mean

SUMMARY = ""


class Config(Schema):
    """The paper's: 100 tokens with top-k 2 after the article and TL;DR:, the first three sentences of them.

    It leaves open which part of a long article is read, the blank before the hint, and the stemmer; tables of
    its time count with ROUGE-1.5.5's Porter stemmer.
    """

    hint: str = identity("\nTL;DR:", description="what asks for a summary, right after the article")
    max_new_tokens: int = identity(100, ge=1, description="tokens written; half the context at most")
    top_k: int | None = identity(2, ge=1, description="ids kept, null for all")
    temperature: float = identity(1.0, ge=0, description="0 is greedy")
    sentences: int = identity(3, ge=1, description="of what was written, and of the baselines' summaries")
    keep: Literal["beginning", "end"] = identity("beginning", description="of an article that does not fit")
    no_hint: bool = identity(True, description="write without the hint as well: the paper's ablation")
    stemmer: bool = identity(True, description="compare words by their Porter stems")

    def build(self, setting: Setting) -> CnnDailymail:
        """Return the task; MissingSet without its set, ConfigError without rouge-score."""
        return CnnDailymail(self, setting)


class CnnDailymail:
    """One example is one article."""

    name = "cnn_dailymail"

    def __init__(self, config: Config, setting: Setting):
        self._config, self._setting = config, setting
        self._rouge = Rouge(config.stemmer)
        self._articles, self.data_sha256 = (found := setting.rows(SOURCE)).rows, found.sha256
        self._new_tokens = min(config.max_new_tokens, setting.n_ctx // 2)
        self._hint = tuple(setting.tokenizer.encode(config.hint)) if config.hint else ()
        self.protocol = self._described()

    def examples(self) -> Sequence[Example]:
        """Return the articles."""
        return [
            Example(number=number, content=article)
            for number, article in enumerate(self._articles[: self._setting.limit])
        ]

    def requests(self, example: Example) -> Sequence[Generation | LogLikelihood]:
        """Return the wish for a summary, for what comes without the hint, and for the reference's loss."""
        article: Article = example.content
        hinted, _ = self._prompt(article, self._hint)
        wishes = [self._wish(example, hinted, 0)]
        if self._config.no_hint:
            wishes.append(self._wish(example, self._prompt(article, ())[0], 1))
        reference = self._setting.tokenizer.encode(_reference(article))
        return [*wishes, *windows(hinted, reference, self._setting.n_ctx)]

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return what was written, the summaries with their ROUGE, and the reference's nats."""
        article: Article = example.content
        written = {SUMMARY: replies[0].text}
        if self._config.no_hint:
            written["no_hint"] = replies[1].text
        summaries = {kind: sentences(text) for kind, text in written.items()} | self._baselines(example)
        shown = {kind: found[: self._config.sentences] for kind, found in summaries.items()}
        return {
            "number": example.number,
            "article": article.text,
            "highlights": list(article.highlights),
            **{"_".join(filter(None, ("written", kind))): text for kind, text in written.items()},
            "summaries": {kind or "summary": " ".join(found) for kind, found in shown.items()},
            "scores": {kind: self._rouge.score(article.highlights, found) for kind, found in shown.items()},
            "empty": not shown[SUMMARY],
            "cut": self._prompt(article, self._hint)[1],
            "nats": sum(sum(reply.nats) for reply in replies[len(written) :]),
            "bytes": len(_reference(article).encode()),
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return ROUGE of the model's summaries and of each baseline, then what else was counted."""
        rouge = [
            Metric(
                name="_".join(filter(None, (name, kind))),
                estimate=mean([record["scores"][kind][name] for record in records]),
            )
            for kind in records[0]["scores"]
            for name in records[0]["scores"][kind]
        ]
        nats, text_bytes = ([record[key] for record in records] for key in ("nats", "bytes"))
        empty = [float(record["empty"]) for record in records]
        return [
            *rouge,
            Metric(name="bits_per_byte", estimate=bits_per_byte(nats, text_bytes)),
            Metric(name="empty", estimate=mean(empty)),
            cut_metric(records),
        ]

    def _prompt(self, article: Article, hint: tuple[int, ...]) -> tuple[tuple[int, ...], bool]:
        """Return end of text, as much of the article as fits, and the hint; and whether that is not all."""
        ids = self._setting.tokenizer.encode(article.text)
        room = max(self._setting.n_ctx - self._new_tokens - 1 - len(hint), 0)
        cut = len(ids) > room
        if cut:
            ids = ids[:room] if self._config.keep == "beginning" else ids[len(ids) - room :]
        # Only in a context of a few tokens is there no room for the hint.
        whole = (self._setting.tokenizer.eot_id, *ids, *hint)
        return whole[-(self._setting.n_ctx - self._new_tokens) :], cut

    def _wish(self, example: Example, prompt: tuple[int, ...], which: int) -> Generation:
        return Generation(
            prompt=prompt,
            max_new_tokens=self._new_tokens,
            seed=(self._setting.seed * 1_000_003 + example.number) * 2 + which,
            temperature=self._config.temperature,
            top_k=self._config.top_k,
            stop_ids=(self._setting.tokenizer.eot_id,),
        )

    def _baselines(self, example: Example) -> dict[str, list[str]]:
        """Return the article's first sentences, and as many at random, in the article's order."""
        found, count = sentences(example.content.text), self._config.sentences
        draw = random.Random(f"{self._setting.seed}/{example.number}")
        chosen = sorted(draw.sample(range(len(found)), min(count, len(found))))
        return {f"lead_{count}": found[:count], f"random_{count}": [found[place] for place in chosen]}

    def _described(self) -> str:
        config, count = self._config, self._config.sentences
        return (
            f"after end-of-text, the article (what does not fit is left out, its {config.keep} kept) and "
            f"{config.hint!r}: {self._new_tokens} tokens, temperature {config.temperature}, "
            f"top-k {config.top_k}, seed {self._setting.seed}, context {self._setting.n_ctx}; of these the "
            f"first {count} sentences; {SENTENCE_RULE}; F1 in points of 100 by {self._rouge.signature}; "
            "rouge_l by sentences (rougeLsum), rouge_l_whole of the text as one (rougeL), rouge_average of "
            f"rouge_1, rouge_2, rouge_l; lead_{count}: the article's first {count} sentences; "
            f"random_{count}: {count} of them at random, in its order; no_hint: written without the hint; an "
            "empty summary scores 0; bits_per_byte: of the highlights after the prompt, the blank between "
            "them included"
        )


def _reference(article: Article) -> str:
    """Return the highlights as they would go on after the hint."""
    return f" {' '.join(article.highlights)}"
