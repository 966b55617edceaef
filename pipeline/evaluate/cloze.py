"""The Children's Book Test (Hill et al., 2016): which of ten words was taken out of a book's next sentence.

The GPT-2 paper (section 3.2) scores each choice by its probability and that of the rest of the sentence after
it, on the validation files: a book of the test files is in WebText.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import Schema, identity
from pipeline.errors import FormatError
from pipeline.evaluate.choice import hit
from pipeline.evaluate.context import CUT_RULE, cut_metric, fitted, nats_of, windows
from pipeline.evaluate.lines import numbered_lines
from pipeline.evaluate.penn import as_written
from pipeline.evaluate.task import Example, LogLikelihood, Metric, Reply, Setting
from pipeline.formats.source import Hub, Rows, Source, only
from pipeline.metrics import bits_per_byte, mean

BLANK = "XXXXX"
SENTENCES = 20
WHERE = "http://www.thespermwhale.com/jaseweston/babi/CBTest.tgz"

_NUMBERED = re.compile(r"(\d+) (.*)", re.DOTALL)


class Cloze(Schema):
    """What the paper leaves open of CBT."""

    detokenize: bool = identity(True, description="undo the set's tokens: 'do n't .' becomes 'don't.'")
    separator: str = identity(" ", description="between sentences")


@dataclass(frozen=True)
class Question:
    """Twenty sentences, the next one with a word left blank, the choices for it and the right one's place."""

    sentences: tuple[str, ...]
    query: str
    choices: tuple[str, ...]
    answer: int


def source(name: str, kind: str) -> Source[Question]:
    """Return the validation file of a kind of words, CN or NE."""
    file = f"cbtest_{kind}_valid_2000ex.txt"
    return Source(
        name=name,
        layouts=((f"CBTest/data/{file}",), (f"**/{file}",)),
        parse=parse,
        where=WHERE,
        hub=Hub(path="cam-cst/cbt", name=kind, split="validation", row=_hub_row),
    )


def parse(files: Sequence[Path]) -> list[Question]:
    """Return the questions of the file, each in 21 lines; FormatError with file and line of a bad one."""
    return list(_questions(only(files)))


def _questions(path: Path) -> Iterator[Question]:
    sentences: list[str] = []
    place = f"{path}"
    for line, text in numbered_lines(path):
        if not text.strip():
            continue
        place = f"{path}:{line}"
        numbered = _NUMBERED.match(text.rstrip("\r\n"))
        if numbered is None or int(numbered[1]) != len(sentences) + 1:
            raise FormatError(
                f"{place}: not line {len(sentences) + 1} of a question ({text[:40]!r}); get the file anew"
            )
        if len(sentences) < SENTENCES:
            sentences.append(numbered[2])
        else:
            yield _question(sentences, numbered[2], place)
            sentences = []
    if sentences:
        raise FormatError(f"{place}: the last question has no line {SENTENCES + 1}; get the file anew")


def _question(sentences: Sequence[str], last: str, place: str) -> Question:
    columns = last.split("\t")
    if len(columns) != 4:
        raise FormatError(
            f"{place}: {len(columns)} columns, not query, answer, nothing and choices; get the file anew"
        )
    query, answer, _, choices = columns
    try:
        return _checked(sentences, query, answer, choices.split("|"))
    except ValueError as fault:
        raise FormatError(f"{place}: {fault}; get the file anew") from None


def _checked(sentences: Sequence[str], query: str, answer: str, choices: Sequence[str]) -> Question:
    distinct = tuple(dict.fromkeys(choice for choice in choices if choice))
    if BLANK not in query:
        raise ValueError(f"no {BLANK} in the query {query!r}")
    if answer not in distinct or len(distinct) < 2:
        raise ValueError(f"the answer {answer!r} is not one of two choices or more ({'|'.join(choices)!r})")
    return Question(tuple(sentences), query, distinct, distinct.index(answer))


def _hub_row(row: Mapping[str, Any]) -> Question:
    return _checked(row["sentences"], row["question"], row["answer"], row["options"])


class ClozeTask:
    """One example is one question; a choice is asked for with the rest of its sentence, after the book."""

    def __init__(self, name: str, words: str, config: Cloze, rows: Rows[Question], setting: Setting):
        self.name = name
        self._config, self._questions, self._setting = config, rows.rows[: setting.limit], setting
        self.data_sha256 = rows.sha256
        self.protocol = (
            f"Children's Book Test, {words}, validation file; the choice of the highest p(choice) · p(rest "
            f"of the sentence) after end-of-text, {SENTENCES} sentences and the sentence's beginning; "
            f"{'de-tokenized' if config.detokenize else 'tokens as they are'}, joined by "
            f"{config.separator!r}; context {setting.n_ctx}, {CUT_RULE}; choices as likely share a hit; bits "
            "per byte of the right choice and the rest; stderr over questions"
        )

    def examples(self) -> Sequence[Example]:
        """Return the questions."""
        return [Example(number=number, content=question) for number, question in enumerate(self._questions)]

    def requests(self, example: Example) -> Sequence[LogLikelihood]:
        """Return what is asked of the choices, one after the other."""
        return [request for asked in self._asked(example.content)[0] for request in asked]

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return the question, the nats of each choice, and whether the right one cost least."""
        question: Question = example.content
        answers = iter(replies)
        asked, cut = self._asked(question)
        nats = [sum(nats_of(answers, each)) for each in asked]
        context, targets = self._texts(question)
        return {
            "number": example.number,
            "context": context,
            "choices": list(question.choices),
            "answer": question.choices[question.answer],
            "chosen": question.choices[nats.index(min(nats))],
            "nats": nats,
            "hit": hit(nats, question.answer),
            "answer_nats": nats[question.answer],
            "bytes": len(targets[question.answer].encode()),
            "cut": cut,
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return accuracy, bits per byte and the share of cut contexts."""
        costs = bits_per_byte(
            [record["answer_nats"] for record in records], [record["bytes"] for record in records]
        )
        return [
            Metric(name="accuracy", estimate=mean([record["hit"] for record in records])),
            Metric(name="bits_per_byte", estimate=costs),
            cut_metric(records),
        ]

    def _texts(self, question: Question) -> tuple[str, list[str]]:
        """Return what comes before the blank, and each choice with what comes after it."""
        sentences = [*question.sentences, question.query]
        if self._config.detokenize:
            sentences = [as_written(sentence) for sentence in sentences]
        beginning, _, after = sentences[-1].partition(BLANK)
        before = self._config.separator.join([*sentences[:-1], beginning])
        blank = before[len(before.rstrip(" ")) :]  # goes with the word, as GPT-2's tokens do
        targets = [f"{blank}{choice}{after.replace(BLANK, choice)}" for choice in question.choices]
        return before.rstrip(" "), targets

    def _asked(self, question: Question) -> tuple[list[list[LogLikelihood]], bool]:
        """Return what is asked of each choice, after the same context, and whether that was cut."""
        tokenizer, n_ctx = self._setting.tokenizer, self._setting.n_ctx
        context, targets = self._texts(question)
        ids = [tokenizer.encode(target) for target in targets]
        whole = (tokenizer.eot_id, *tokenizer.encode(context))
        kept = fitted(whole, max(map(len, ids)) - 1, n_ctx)
        return [windows(kept, each, n_ctx) for each in ids], len(kept) < len(whole)
