"""The Winograd Schema Challenge's 273 sentences (Levesque et al., 2012), scored in full and in part.

Each candidate is put for the pronoun, and the likelier one is the answer (Trinh and Le, 2018, section 3): by
the probability of the whole sentence (full), or of what comes after the candidate (partial), which is the
GPT-2 paper's figure (section 3.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pipeline.config import Schema, identity
from pipeline.evaluate.choice import hit
from pipeline.evaluate.context import cut_metric, nats_of, windows
from pipeline.evaluate.schemas import SOURCE, WinogradSchema, as_lm_eval, fluent
from pipeline.evaluate.task import Example, LogLikelihood, Metric, Reply, Setting
from pipeline.formats.source import Rows
from pipeline.metrics import bits_per_byte, mean

SUBSTITUTIONS = {"fluent": fluent, "lm-eval": as_lm_eval}


class Config(Schema):
    """What the paper leaves open of Winograd."""

    substitution: Literal["fluent", "lm-eval"] = identity(
        "fluent", description="how a candidate is put for the pronoun; lm-eval: as its wsc273, blanks and all"
    )
    end_of_text: bool = identity(True, description="whether the sentence stands after end-of-text")

    def build(self, setting: Setting) -> Winograd:
        """Return the task; MissingSet where the set is not there."""
        return Winograd(self, setting.rows(SOURCE), setting)


class Winograd:
    """One example is one sentence with its two candidates."""

    name = "winograd"

    def __init__(self, config: Config, rows: Rows[WinogradSchema], setting: Setting):
        self._config, self._schemas, self._setting = config, rows.rows[: setting.limit], setting
        self.data_sha256 = rows.sha256
        self.protocol = (
            f"Winograd Schema Challenge, the first 273; candidates for the pronoun ({config.substitution}); "
            "full: p(sentence), partial: p(what comes after the candidate | candidate and before); "
            f"{'after' if config.end_of_text else 'without'} end-of-text; candidates as likely share a hit; "
            f"context {setting.n_ctx}, a longer sentence is read in windows, each after half a context; bits "
            "per byte of the right sentence; stderr over sentences"
        )

    def examples(self) -> Sequence[Example]:
        """Return the sentences."""
        return [Example(number=number, content=schema) for number, schema in enumerate(self._schemas)]

    def requests(self, example: Example) -> Sequence[LogLikelihood]:
        """Return what is asked of the first candidate's sentence and of the second's."""
        return [request for asked in self._asked(self._parts(example.content)) for request in asked]

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return the two sentences, what they and their ends cost, and both hits."""
        schema: WinogradSchema = example.content
        answers = iter(replies)
        parts = self._parts(schema)
        asked = self._asked(parts)
        nats = [nats_of(answers, each) for each in asked]
        ends = [len(self._setting.tokenizer.encode(rest)) for _, _, rest in parts]
        full = [sum(each) for each in nats]
        partial = [sum(each[-end:]) for each, end in zip(nats, ends, strict=True)]
        sentences = ["".join(pieces) for pieces in parts]
        return {
            "number": example.number,
            "sentences": sentences,
            "answer": sentences[schema.answer],
            "nats_full": full,
            "nats_partial": partial,
            "hit_partial": hit(partial, schema.answer),
            "hit_full": hit(full, schema.answer),
            "answer_nats": full[schema.answer],
            "bytes": len(sentences[schema.answer].encode()),
            "cut": any(len(each) > 1 for each in asked),
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return both accuracies, bits per byte and the share of cut contexts."""
        costs = bits_per_byte(
            [record["answer_nats"] for record in records], [record["bytes"] for record in records]
        )
        return [
            Metric(name="accuracy_full", estimate=mean([record["hit_full"] for record in records])),
            Metric(name="accuracy_partial", estimate=mean([record["hit_partial"] for record in records])),
            Metric(name="bits_per_byte", estimate=costs),
            cut_metric(records),
        ]

    def _parts(self, schema: WinogradSchema) -> list[tuple[str, str, str]]:
        put = SUBSTITUTIONS[self._config.substitution]
        return [put(schema, candidate) for candidate in schema.candidates]

    def _asked(self, parts: Sequence[tuple[str, str, str]]) -> list[list[LogLikelihood]]:
        """Return what is asked of each sentence: once, or in windows where it is too long.

        Parts are tokenized apart, so that it is known which ids come after the candidate.
        """
        tokenizer, asked = self._setting.tokenizer, []
        for sentence in parts:
            ids = [id for part in sentence for id in tokenizer.encode(part)]
            if self._config.end_of_text or not sentence[0]:
                ids.insert(0, tokenizer.eot_id)
            asked.append(windows(ids[:1], ids[1:], self._setting.n_ctx))
        return asked
