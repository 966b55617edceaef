"""Conversations about a passage: every turn of CoQA's development set (Reddy et al., 2019).

The GPT-2 paper (section 3.5) lets the model go on greedily after the passage, the conversation so far and
`A:`. Earlier answers are those of the set, as for every system on its leaderboard.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pipeline.answers import exact_match, f1, leave_one_out
from pipeline.config import Schema, identity
from pipeline.errors import FormatError
from pipeline.evaluate.context import CUT_RULE, OpenQuestion, check_room, cut_metric, nats_of, open_question
from pipeline.evaluate.task import Example, Generation, Metric, Reply, Request, Setting
from pipeline.formats.source import Hub, Rows, Source, only
from pipeline.metrics import bits_per_byte, clustered_mean

FILE = "coqa-dev-v1.0.json"


class Config(Schema):
    """What the paper leaves open of CoQA."""

    passage_end: str = identity("\n\n", description="between the passage and the first question")
    turn_end: str = identity("\n", min_length=1, description="after each answer; ends the model's, too")
    max_new_tokens: int = identity(32, ge=1, description="tokens of an answer at most")

    def build(self, setting: Setting) -> Coqa:
        """Return the task; MissingSet where the set is not there, ConfigError where answers do not fit."""
        check_room(Coqa.name, self.max_new_tokens, setting.n_ctx)
        return Coqa(self, setting.rows(SOURCE), setting)


@dataclass(frozen=True)
class Conversation:
    """A passage, the questions on it, and for each the answers of all people, the questioned one first."""

    id: str
    source: str
    passage: str
    questions: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Turn:
    """A question of a conversation, by its place."""

    conversation: Conversation
    place: int


def parse(files: Sequence[Path]) -> list[Conversation]:
    """Return the conversations of the published file; FormatError with file and line for one that is none."""
    return list(_conversations(only(files)))


def _conversations(path: Path) -> Iterator[Conversation]:
    content = path.read_bytes()
    try:
        rows = orjson.loads(content)["data"]
    except orjson.JSONDecodeError as fault:
        raise FormatError(f"{path}:{fault.lineno}: {fault.msg}; get the file anew") from None
    except (KeyError, TypeError):
        raise FormatError(f"{path}:1: no conversations under `data`; get the file anew") from None
    for number, row in enumerate(rows):
        try:
            yield _conversation(row, list(row.get("additional_answers", {}).values()))
        except (AttributeError, KeyError, TypeError, ValueError) as fault:
            raise FormatError(
                f"{path}:{_line(content, number)}: conversation {number}: {type(fault).__name__}: {fault}; "
                "get the file anew"
            ) from None


def _line(content: bytes, number: int) -> int:
    """Return the line on which a conversation's passage stands, or the file's last."""
    starts = [match.start() for match in re.finditer(rb'"story"\s*:', content)]
    return content[: starts[number] if number < len(starts) else None].count(b"\n") + 1


def _conversation(row: Mapping[str, Any], others: Sequence[Sequence[Mapping[str, Any]]]) -> Conversation:
    """Read a row as it was published; ValueError where a question lacks an answer or has another's."""
    people = [row["answers"], *others]
    for turns in (row["questions"], *people):
        if [turn["turn_id"] for turn in turns] != list(range(1, len(row["questions"]) + 1)):
            raise ValueError("turns that are not numbered as the questions are")
    if not row["questions"]:
        raise ValueError("no question")
    return _checked(
        row,
        [turn["input_text"] for turn in row["questions"]],
        [[turn["input_text"] for turn in turns] for turns in people],
    )


def _checked(row: Mapping[str, Any], questions: list[str], people: list[list[str]]) -> Conversation:
    texts = [
        row["story"],
        row["id"],
        row["source"],
        *questions,
        *(text for texts in people for text in texts),
    ]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("something else than text in a passage, a question or an answer")
    return Conversation(
        row["id"], row["source"], row["story"], tuple(questions), tuple(zip(*people, strict=True))
    )


def _hub_row(row: Mapping[str, Any]) -> Conversation:
    others = [given for _, given in sorted(row["additional_answers"].items())]
    return _checked(
        row, row["questions"]["input_text"], [given["input_text"] for given in (row["answers"], *others)]
    )


SOURCE = Source(
    name="CoQA (development set)",
    layouts=((FILE,), (f"coqa/{FILE}",), (f"**/{FILE}",)),
    parse=parse,
    where="https://nlp.stanford.edu/data/coqa/coqa-dev-v1.0.json",
    hub=Hub(path="EleutherAI/coqa", split="validation", row=_hub_row),
)


class Coqa:
    """One example is one turn; conversations are the clusters of the standard errors."""

    name = "coqa"

    def __init__(self, config: Config, rows: Rows[Conversation], setting: Setting):
        self._config, self._conversations, self._setting = config, rows.rows, setting
        self.data_sha256 = rows.sha256
        self.protocol = (
            f"CoQA development set, every turn: greedy after end-of-text, passage, {config.passage_end!r}, "
            f"earlier turns with the set's answers ('Q: …\\nA: …' and {config.turn_end!r}), the question "
            f"and 'A:', up to {config.turn_end!r} or {config.max_new_tokens} tokens; F1 and exact match by "
            "CoQA's normaliser, best of the references but one, averaged over the one left out; an empty "
            f"answer is scored as it is; context {setting.n_ctx}, {CUT_RULE}; bits per byte of the first "
            "reference; stderr clustered by conversation"
        )

    def examples(self) -> Sequence[Example]:
        """Return the turns, conversation by conversation."""
        turns = [Turn(each, place) for each in self._conversations for place in range(len(each.questions))]
        return [
            Example(number=number, content=turn) for number, turn in enumerate(turns[: self._setting.limit])
        ]

    def requests(self, example: Example) -> Sequence[Request]:
        """Return the wish for an answer, then the question what the first reference costs."""
        asked = self._asked(example.content)
        generation = Generation(
            prompt=asked.prompt,
            max_new_tokens=self._config.max_new_tokens,
            stop_ids=(self._setting.tokenizer.eot_id,),
            stop=(self._config.turn_end,),
        )
        return [generation, *asked.reference]

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return the turn with the model's answer and its scores."""
        turn: Turn = example.content
        conversation, asked = turn.conversation, self._asked(turn)
        references = conversation.references[turn.place]
        answer = replies[0].text.strip()
        return {
            "number": example.number,
            "conversation": conversation.id,
            "source": conversation.source,
            "prompt": self._text(turn),
            "question": conversation.questions[turn.place],
            "references": list(references),
            "answer": answer,
            "empty": not answer,
            "f1": leave_one_out(f1, answer, references),
            "exact_match": leave_one_out(exact_match, answer, references),
            "answer_nats": sum(nats_of(iter(replies[1:]), asked.reference)),
            "bytes": len(f" {references[0]}".encode()),
            "cut": asked.cut,
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return F1, exact match, bits per byte, and the shares of empty answers and cut contexts."""
        groups = [record["conversation"] for record in records]
        scores = [
            Metric(name=name, estimate=clustered_mean([float(record[name]) for record in records], groups))
            for name in ("f1", "exact_match", "empty")
        ]
        costs = bits_per_byte(
            [record["answer_nats"] for record in records], [record["bytes"] for record in records], groups
        )
        return [*scores, Metric(name="bits_per_byte", estimate=costs), cut_metric(records)]

    def _text(self, turn: Turn) -> str:
        """Return the passage, the turns before and the question, up to where the answer begins."""
        conversation, end = turn.conversation, self._config.turn_end
        asked = zip(conversation.questions, conversation.references, strict=True)
        turns = [f"Q: {question}\nA: {answers[0]}{end}" for question, answers in asked][: turn.place]
        question = f"Q: {conversation.questions[turn.place]}\nA:"
        return f"{conversation.passage}{self._config.passage_end}{''.join(turns)}{question}"

    def _asked(self, turn: Turn) -> OpenQuestion:
        tokenizer = self._setting.tokenizer
        prompt = (tokenizer.eot_id, *tokenizer.encode(self._text(turn)))
        reference = tokenizer.encode(f" {turn.conversation.references[turn.place][0]}")
        return open_question(prompt, reference, self._config.max_new_tokens, self._setting.n_ctx)
