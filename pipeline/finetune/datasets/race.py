"""RACE: which of four answers to a question on a passage is right? (Lai et al., 2017.)

The passages are from examinations of English for Chinese pupils, of middle and of high schools. Questions of
one passage are not independent, so errors are those of passages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pipeline.config import identity
from pipeline.errors import FormatError
from pipeline.finetune.dataset import Choice, Dataset, Row, Rules
from pipeline.finetune.table import text_of
from pipeline.formats.source import Hub, Source

LETTERS = "ABCD"
KEYS = ("id", "article", "questions", "options", "answers")
PUBLISHED = {  # questions
    "middle": {"train": 25_421, "validation": 1_436, "test": 1_436},
    "high": {"train": 62_445, "validation": 3_451, "test": 3_498},
}
FILES = {"train": "train", "validation": "dev", "test": "test"}


class Config(Rules):
    """RACE, of one kind of school or of both."""

    level: Literal["middle", "high", "all"] = identity("all", description="the schools: middle, high or all")

    def build(self) -> Dataset:
        """Return the dataset."""
        levels = ("middle", "high") if self.level == "all" else (self.level,)
        return Dataset(
            name="race",
            kind="choice",
            metrics=("accuracy",),
            splits={split: _source(split, file, self.level, levels) for split, file in FILES.items()},
            published={split: sum(PUBLISHED[level][split] for level in levels) for split in FILES},
            incomplete=self.incomplete,
        )


def _source(split: str, file: str, name: str, levels: Sequence[str]) -> Source[Row]:
    return Source(
        name=f"RACE ({name}), {split}",
        layouts=(
            tuple(f"RACE/{file}/{level}/*.txt" for level in levels),
            tuple(f"race/{file}_{level}.jsonl" for level in levels),
        ),
        parse=_parse,
        where="https://www.cs.cmu.edu/~glai1/data/race/RACE.tar.gz",
        hub=Hub(path="ehovy/race", name=name, split=split, row=_by_name),
    )


def _parse(files: Sequence[Path]) -> list[Row]:
    """Return the questions of files that hold a passage (as published) or one on each line."""
    return [
        question
        for path in files
        for line, text in enumerate(text_of(path).split("\n"), start=1)
        if text.strip()
        for question in _questions(text, f"{path}:{line}")
    ]


def _questions(text: str, place: str) -> Iterator[Row]:
    try:
        passage = json.loads(text)
        lacks = [key for key in KEYS if key not in passage]
        if lacks:
            raise ValueError(f"no {', '.join(lacks)}")
        parts = zip(passage["questions"], passage["options"], passage["answers"], strict=True)
        for number, (question, options, letter) in enumerate(parts):
            about = {"id": f"{passage['id']}/{number}", "place": f"{place}, question {number + 1}"}
            yield _question(passage["id"], passage["article"], question, options, letter, **about)
    except (ValueError, TypeError, AttributeError) as fault:
        raise FormatError(f"{place}: no passage of RACE ({fault}); get the file anew") from None


def _question(
    passage: str, article: str, question: str, options: Sequence[str], letter: str, **about: str
) -> Row:
    if letter not in LETTERS[: len(options)] or len(letter) != 1:
        raise ValueError(f"answer {letter!r} is none of its {len(options)} options")
    return Choice(
        context=article.strip(),
        question=question.strip(),
        answers=tuple(option.strip() for option in options),
        label=LETTERS.index(letter),
        cluster=passage,
        group="middle" if passage.startswith("middle") else "high",
        **about,
    )


def _by_name(row: Mapping[str, Any]) -> Row:
    return _question(row["example_id"], row["article"], row["question"], row["options"], row["answer"])
