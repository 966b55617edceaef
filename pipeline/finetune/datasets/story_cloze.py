"""Story Cloze: which of two endings does a story of four sentences have? (Mostafazadeh et al., 2016.)

GPT-1 learned from what the set's authors meant for validation. It is divided as in OpenAI's released code
(openai/finetune-transformer-lm, datasets.py): 374 stories, drawn by its seed, to validate with, and the other
1,497 to learn from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.errors import FormatError
from pipeline.finetune.dataset import Choice, Dataset, LeftOut, Row, Rules
from pipeline.finetune.table import quoted_lines
from pipeline.formats.source import Source

WHERE = "https://cs.rochester.edu/nlp/rocstories/ (asked for with a form)"
VALIDATION = "cloze_test_val__spring2016 - cloze_test_ALL_val.csv"
TEST = "cloze_test_test__spring2016 - cloze_test_ALL_test.csv"
STORY = ("InputSentence1", "InputSentence2", "InputSentence3", "InputSentence4")
ENDINGS = ("RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2")
ID, RIGHT = "InputStoryid", "AnswerRightEnding"
SEED = 3_535_999_445
VALIDATION_SHARE = (374, 1_871)


class Config(Rules):
    """Story Cloze of 2016."""

    def build(self) -> Dataset:
        """Return the dataset."""
        return Dataset(
            name="story_cloze",
            kind="choice",
            metrics=("accuracy",),
            splits={
                "train": _source("train", VALIDATION, partial(_drawn, validation=False)),
                "validation": _source("validation", VALIDATION, partial(_drawn, validation=True)),
                "test": _source("test", TEST, _stories),
            },
            published={"train": 1_497, "validation": 374, "test": 1_871},
            incomplete=self.incomplete,
        )


def _source(split: str, file: str, parse: Callable[[Sequence[Path]], list[Row]]) -> Source[Row]:
    layouts = tuple((f"{folder}/{file}",) for folder in ("rocstories", "story_cloze"))
    return Source(name=f"Story Cloze, {split}", layouts=layouts, parse=parse, where=WHERE)


def _drawn(files: Sequence[Path], validation: bool) -> list[Row]:
    """Return the stories drawn to validate with, or the others, in the order in which they were drawn."""
    stories = _stories(files)
    part, whole = VALIDATION_SHARE
    drawn = np.random.RandomState(SEED).permutation(len(stories))
    first = len(stories) * part // whole
    return [stories[place] for place in (drawn[:first] if validation else drawn[first:])]


def _stories(files: Sequence[Path]) -> list[Row]:
    (path,) = files
    lines = quoted_lines(path, delimiter=",")
    _, top = next(lines, (1, []))
    if lacks := [name for name in (ID, *STORY, *ENDINGS, RIGHT) if name not in top]:
        raise FormatError(f"{path}:1: no column {', '.join(lacks)} (there are {', '.join(top)}); get it anew")
    return [_story(top, fields, f"{path}:{line}") for line, fields in lines]


def _story(top: Sequence[str], fields: Sequence[str], place: str) -> Row:
    if len(fields) != len(top):
        return LeftOut(place=place, reason=f"{len(fields)} columns instead of {len(top)}")
    row = dict(zip(top, map(str.strip, fields), strict=True))
    if row[RIGHT] not in ("1", "2"):
        raise FormatError(f"{place}: {RIGHT} {row[RIGHT]!r} is neither 1 nor 2; mend the row or get it anew")
    if not all(row[name] for name in STORY):
        return LeftOut(place=place, reason="a text is empty")
    return Choice(
        context=" ".join(row[name] for name in STORY),
        question="",
        answers=tuple(row[name] for name in ENDINGS),
        label=int(row[RIGHT]) - 1,
        id=row[ID],
        place=place,
    )
