"""Questions put to a search engine, answered from memory: Natural Questions, open (Lee et al., 2019).

The GPT-2 paper (section 3.8) seeds the context with pairs of question and answer, which show how short an
answer is, and counts exact matches as SQuAD does. Its pairs are not published; these are ours, and none of
them is in the set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pipeline.answers import exact_match
from pipeline.config import Schema, identity
from pipeline.errors import FormatError
from pipeline.evaluate.calibration import BINS, calibration_error, most_confident
from pipeline.evaluate.context import CUT_RULE, OpenQuestion, check_room, cut_metric, nats_of, open_question
from pipeline.evaluate.lines import numbered_lines
from pipeline.evaluate.task import Example, Generation, Metric, Reply, Request, Setting
from pipeline.formats.source import Hub, Rows, Source, only
from pipeline.metrics import bits_per_byte, mean

CONFIDENT = 0.01
"""The share of questions whose answers the paper looks at apart: those that the model is surest of."""

PAIRS = (
    ("who wrote the novel moby dick", "Herman Melville"),
    ("what is the chemical symbol for gold", "Au"),
    ("how many strings does a violin have", "four"),
    ("when did world war i begin", "1914"),
    ("where is the city of toronto located", "Canada"),
)


class Config(Schema):
    """What the paper leaves open of Natural Questions."""

    pairs: tuple[tuple[str, str], ...] = identity(PAIRS, description="questions and answers to begin with")
    question: str = identity(
        "Q: {question}?\nA:", pattern=r"\{question\}", description="a question; its answer follows a blank"
    )
    answer_end: str = identity("\n", min_length=1, description="after each answer; ends the model's, too")
    max_new_tokens: int = identity(16, ge=1, description="tokens of an answer at most")

    def build(self, setting: Setting) -> NaturalQuestions:
        """Return the task; MissingSet where the set is not there, ConfigError where answers do not fit."""
        check_room(NaturalQuestions.name, self.max_new_tokens, setting.n_ctx)
        return NaturalQuestions(self, setting.rows(SOURCE), setting)


@dataclass(frozen=True)
class Question:
    """A question and the answers that are right."""

    text: str
    references: tuple[str, ...]


def parse(files: Sequence[Path]) -> list[Question]:
    """Return the questions, one JSON object each line; FormatError with file and line of a bad one."""
    return list(_questions(only(files)))


def _questions(path: Path) -> Iterator[Question]:
    for line, content in numbered_lines(path):
        if not content.strip():
            continue
        try:
            yield _question(orjson.loads(content))
        except (KeyError, TypeError, ValueError) as fault:
            raise FormatError(f"{path}:{line}: {type(fault).__name__}: {fault}; get the file anew") from None


def _question(row: Mapping[str, Any]) -> Question:
    text, references = row["question"], tuple(row["answer"])
    if not references or not all(isinstance(each, str) for each in (text, *references)):
        raise ValueError(f"a question needs text and one answer or more, found {text!r} and {references!r}")
    return Question(text, references)


SOURCE = Source(
    name="Natural Questions (open, development set)",
    layouts=(("nq_open/NQ-open.dev.jsonl",), ("NQ-open.dev.jsonl",)),
    parse=parse,
    where="https://github.com/google-research-datasets/natural-questions/tree/master/nq_open",
    sums=dict.fromkeys(
        ("nq_open/NQ-open.dev.jsonl", "NQ-open.dev.jsonl"),
        "f15567f38099f3615f5b8a685c0aef449c11ad90d3da3735e8d1b98115b40616",
    ),
    hub=Hub(path="google-research-datasets/nq_open", split="validation", row=_question),
)


class NaturalQuestions:
    """One example is one question."""

    name = "natural_questions"

    def __init__(self, config: Config, rows: Rows[Question], setting: Setting):
        self._config, self._questions, self._setting = config, rows.rows[: setting.limit], setting
        self.data_sha256 = rows.sha256
        self._seed_text = "".join(
            f"{config.question.replace('{question}', question)} {answer}{config.answer_end}"
            for question, answer in config.pairs
        )
        self.protocol = (
            "Natural Questions open, development set: greedy after end-of-text and "
            f"{self._seed_text!r}, asked as {config.question!r}, up to {config.answer_end!r} or "
            f"{config.max_new_tokens} tokens; exact match by SQuAD's normaliser with any reference; "
            "confidence: p(answer), without its end, 0 for an empty answer; the most confident "
            f"{CONFIDENT:.0%}, rounded up; calibration error in {BINS} bins of as many questions, stderr by "
            f"bootstrap (seed {setting.seed}); context {setting.n_ctx}, {CUT_RULE}; bits per byte of the "
            "first reference; stderr over questions"
        )

    def examples(self) -> Sequence[Example]:
        """Return the questions."""
        return [Example(number=number, content=question) for number, question in enumerate(self._questions)]

    def requests(self, example: Example) -> Sequence[Request]:
        """Return the wish for an answer, then the question what the first reference costs."""
        asked = self._asked(example.content)
        generation = Generation(
            prompt=asked.prompt,
            max_new_tokens=self._config.max_new_tokens,
            stop_ids=(self._setting.tokenizer.eot_id,),
            stop=(self._config.answer_end,),
            nats=True,
        )
        return [generation, *asked.reference]

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return the question with the model's answer, how sure it was, and whether it was right."""
        question: Question = example.content
        asked = self._asked(question)
        answer = replies[0].text.strip()
        return {
            "number": example.number,
            "question": question.text,
            "references": list(question.references),
            "answer": answer,
            "empty": not answer,
            "confidence": math.exp(-sum(replies[0].nats)) if answer else 0.0,
            "exact_match": exact_match(answer, question.references),
            "answer_nats": sum(nats_of(iter(replies[1:]), asked.reference)),
            "bytes": len(f" {question.references[0]}".encode()),
            "cut": asked.cut,
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return exact match, of all and of the most confident, calibration, costs and cuts."""
        hits, confidences, empty = (
            [float(record[name]) for record in records] for name in ("exact_match", "confidence", "empty")
        )
        costs = bits_per_byte(
            [record["answer_nats"] for record in records], [record["bytes"] for record in records]
        )
        return [
            Metric(name="exact_match", estimate=mean(hits)),
            Metric(
                name="exact_match_confident_1_percent", estimate=most_confident(confidences, hits, CONFIDENT)
            ),
            Metric(name="confidence", estimate=mean(confidences)),
            Metric(
                name="calibration_error",
                estimate=calibration_error(confidences, hits, self._setting.seed),
            ),
            Metric(name="bits_per_byte", estimate=costs),
            Metric(name="empty", estimate=mean(empty)),
            cut_metric(records),
        ]

    def _asked(self, question: Question) -> OpenQuestion:
        tokenizer = self._setting.tokenizer
        text = self._seed_text + self._config.question.replace("{question}", question.text)
        prompt = (tokenizer.eot_id, *tokenizer.encode(text))
        reference = tokenizer.encode(f" {question.references[0]}")
        return open_question(prompt, reference, self._config.max_new_tokens, self._setting.n_ctx)
