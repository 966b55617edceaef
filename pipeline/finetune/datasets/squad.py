"""SQuAD 1.1: which words of a passage of Wikipedia answer a question? (Rajpurkar et al., 2016.)

GPT-1's paper has no figure for it. Questions of one passage are not independent, so errors are those of
passages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import FormatError
from pipeline.finetune.dataset import Dataset, Row, Rules, Span
from pipeline.finetune.table import text_of
from pipeline.formats.source import Hub, Source

WHERE = "https://rajpurkar.github.io/SQuAD-explorer/"
LAYOUTS = {
    "train": (("squad/train-v1.1.json",), ("SQuAD/train-v1.1.json",)),
    "validation": (
        ("squad/dev-v1.1.json",),
        ("SQuAD/dev-v1.1.json",),
        ("squad/xquad.en.json",),  # the 240 passages of the validation set that XQuAD had translated
    ),
}


class Config(Rules):
    """SQuAD 1.1."""

    def build(self) -> Dataset:
        """Return the dataset."""
        return Dataset(
            name="squad",
            kind="span",
            metrics=("f1", "exact_match"),
            splits={
                split: Source(
                    name=f"SQuAD 1.1, {split}",
                    layouts=layouts,
                    parse=_parse,
                    where=WHERE,
                    hub=Hub(path="rajpurkar/squad", split=split, row=_by_name),
                )
                for split, layouts in LAYOUTS.items()
            },
            published={"train": 87_599, "validation": 10_570},
            submission={"validation": "predictions.json"},
            incomplete=self.incomplete,
        )


def _parse(files: Sequence[Path]) -> list[Row]:
    return [row for path in files for row in _file(path)]


def _file(path: Path) -> Iterator[Row]:
    text = text_of(path)
    line, seen = 1, 0
    try:
        for cluster, context, question in _questions(json.loads(text)):
            id, answers = question["id"], question["answers"]
            here = max(text.find(f'"{id}"', seen), seen)  # the questions are read in the file's order
            line, seen = line + text.count("\n", seen, here), here
            given = [(answer["answer_start"], answer["text"]) for answer in answers]
            yield _span(context, question["question"], given, id, f"{path}:{line}", cluster)
    except json.JSONDecodeError as fault:
        raise FormatError(f"{path}:{fault.lineno}: no JSON ({fault.msg}); get the file anew") from None
    except (KeyError, TypeError, AttributeError) as fault:
        what = f"{type(fault).__name__} {fault}"
        raise FormatError(f"{path}:{line}: not laid out as SQuAD 1.1 ({what}); get the file anew") from None
    except ValueError as fault:
        raise FormatError(f"{path}:{line}: {fault}; get the file anew") from None


def _questions(content: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield the questions, each after the number of its passage and the passage."""
    for number, article in enumerate(content["data"]):
        for part, paragraph in enumerate(article["paragraphs"]):
            for question in paragraph["qas"]:
                yield f"{number}/{part}", paragraph["context"], question


def _span(
    context: str,
    question: str,
    answers: Sequence[tuple[int, str]],
    id: str,
    place: str = "",
    cluster: str = "",
) -> Span:
    """Return a question; ValueError for an answer that does not stand where it is said to.

    The passage is not stripped, for its characters are counted.
    """
    for start, text in answers:
        if start < 0 or context[start : start + len(text)] != text:
            raise ValueError(f"question {id}: its passage has no {text!r} at character {start}")
    return Span(
        context=context,
        question=question.strip(),
        answers=tuple(answers),
        id=id,
        place=place,
        cluster=cluster,
    )


def _by_name(row: Mapping[str, Any]) -> Row:
    answers = row["answers"]
    given = list(zip(answers["answer_start"], answers["text"], strict=True))
    return _span(row["context"], row["question"], given, row["id"], cluster=row["context"])
