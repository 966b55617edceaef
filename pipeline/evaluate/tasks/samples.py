"""Texts that the model writes, kept for reading: from nothing, and from beginnings of held-out documents."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from pipeline.config import Schema, identity
from pipeline.errors import ConfigError
from pipeline.evaluate.task import Example, Generation, Metric, Reply, Setting
from pipeline.metrics import mean

REPEATED_NGRAM = 4


class Config(Schema):
    """How many samples, and how they are drawn; top-k 40 is the GPT-2 paper's choice for its samples."""

    unconditional: int = identity(4, ge=0, description="samples from end-of-text alone")
    conditional: int = identity(4, ge=0, description="samples that go on from a document's beginning")
    split: str = identity("validation", description="split whose documents are gone on from")
    prompt_tokens: int = identity(32, ge=1, description="tokens of a document's beginning")
    max_new_tokens: int = identity(96, ge=1, description="tokens of a sample at most")
    temperature: float = identity(1.0, ge=0, description="0 is greedy")
    top_k: int | None = identity(40, ge=1, description="ids kept, null for all")
    top_p: float | None = identity(None, gt=0, le=1, description="probability kept, null for all")

    def build(self, setting: Setting) -> Samples:
        """Return the task; ConfigError when a sample does not fit the model's context."""
        needed = 1 + self.prompt_tokens + self.max_new_tokens
        if needed > setting.n_ctx:
            raise ConfigError(
                f"tasks: samples: prompt and new tokens need a context of {needed}; n_ctx is {setting.n_ctx}"
            )
        return Samples(self, setting)


class Samples:
    """One example is one prompt."""

    name = "samples"

    def __init__(self, config: Config, setting: Setting):
        self._config, self._setting = config, setting
        self.data_sha256 = setting.split_sha256(config.split)
        self.protocol = (
            f"{config.unconditional} samples after end-of-text, {config.conditional} after the first "
            f"{config.prompt_tokens} tokens of documents of split {config.split}; temperature "
            f"{config.temperature}, top-k {config.top_k}, top-p {config.top_p}, at most "
            f"{config.max_new_tokens} tokens, seed {setting.seed}; repetition_{REPEATED_NGRAM}: share of "
            f"token {REPEATED_NGRAM}-grams that the sample already had"
        )

    def examples(self) -> Sequence[Example]:
        """Return the prompts as ids: empty ones, then the beginnings of documents."""
        documents = islice(self._setting.documents(self._config.split), self._config.conditional)
        encode = self._setting.tokenizer.encode
        nothing: list[list[int]] = [[] for _ in range(self._config.unconditional)]
        prompts = nothing + [encode(text)[: self._config.prompt_tokens] for text in documents]
        return [
            Example(number=number, content=prompt)
            for number, prompt in enumerate(prompts[: self._setting.limit])
        ]

    def requests(self, example: Example) -> Sequence[Generation]:
        """Return the wish for one text."""
        eot_id, config = self._setting.tokenizer.eot_id, self._config
        return [
            Generation(
                prompt=(eot_id, *example.content),
                max_new_tokens=config.max_new_tokens,
                seed=self._setting.seed * 1_000_003 + example.number,
                temperature=config.temperature,
                top_k=config.top_k,
                top_p=config.top_p,
                stop_ids=(eot_id,),
            )
        ]

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return prompt and text, and how much of the text repeats itself."""
        ids = replies[0].ids
        decode = self._setting.tokenizer.decode
        ngrams = [ids[start : start + REPEATED_NGRAM] for start in range(len(ids) - REPEATED_NGRAM + 1)]
        return {
            "number": example.number,
            "prompt": decode(example.content),
            "text": decode(ids),
            "tokens": len(ids),
            "ended": len(ids) < self._config.max_new_tokens,
            "repetition": 1 - len(set(ngrams)) / len(ngrams) if ngrams else None,
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return the mean repetition of the samples long enough to have one."""
        repetitions = [record["repetition"] for record in records if record["repetition"] is not None]
        name = f"repetition_{REPEATED_NGRAM}"
        return [Metric(name=name, estimate=mean(repetitions))] if repetitions else []
