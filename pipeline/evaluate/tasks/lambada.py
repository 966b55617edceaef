"""LAMBADA in OpenAI's text, written as books are, which the GPT-2 paper scores (section 3.3, Table 3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import orjson

from pipeline.errors import FormatError
from pipeline.evaluate.final_word import FinalWord, FinalWordTask, Passage, passage_of
from pipeline.evaluate.lines import numbered_lines
from pipeline.evaluate.task import Setting
from pipeline.formats.source import Hub, Source


def parse(files: Sequence[Path]) -> list[Passage]:
    """Return the passages of files with one object `{"text": ...}` a line; FormatError with file and line."""
    found = []
    for path in files:
        for number, line in numbered_lines(path):
            try:
                found.append(passage_of(orjson.loads(line)["text"]))
            except (ValueError, KeyError, TypeError, AttributeError) as fault:
                raise FormatError(
                    f'{path}:{number}: no passage, a line is {{"text": "..."}} '
                    f"({type(fault).__name__}: {fault})"
                ) from None
    return found


SOURCE = Source(
    name="LAMBADA (OpenAI's text)",
    layouts=(("lambada/lambada_test.jsonl",), ("lambada_test.jsonl",)),
    parse=parse,
    where="https://openaipublic.blob.core.windows.net/gpt-2/data/lambada_test.jsonl",
    sums=dict.fromkeys(
        ("lambada/lambada_test.jsonl", "lambada_test.jsonl"),
        "4aa8d02cd17c719165fc8a7887fddd641f43fcafa4b1c806ca8abc31fabdb226",
    ),
    hub=Hub(
        path="EleutherAI/lambada_openai",
        name="default",
        split="test",
        row=lambda row: passage_of(row["text"]),
    ),
)


class Config(FinalWord):
    """The test passages."""

    def build(self, setting: Setting) -> FinalWordTask:
        """Return the task; MissingSet where the set is not there."""
        return FinalWordTask("lambada", "OpenAI's text", self, setting.rows(SOURCE), setting)
