"""LAMBADA as it was published (Paperno et al., 2016): lower-case tokens with a blank between all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.config import identity
from pipeline.errors import FormatError
from pipeline.evaluate.detokenize import TREEBANK
from pipeline.evaluate.final_word import FinalWord, FinalWordTask, Passage, passage_of
from pipeline.evaluate.lines import numbered_lines
from pipeline.evaluate.task import Setting
from pipeline.formats.source import Hub, Rows, Source


def parse(files: Sequence[Path]) -> list[Passage]:
    """Return the passages of files with one on a line; FormatError with file and line."""
    found = []
    for path in files:
        for number, line in numbered_lines(path):
            try:
                found.append(passage_of(line.rstrip("\n")))
            except ValueError as fault:
                raise FormatError(f"{path}:{number}: {fault}") from None
    return found


SOURCE = Source(
    name="LAMBADA (original text)",
    layouts=(
        ("lambada-dataset/lambada_test_plain_text.txt",),
        ("lambada/lambada_test_plain_text.txt",),
        ("lambada_test_plain_text.txt",),
    ),
    parse=parse,
    where="https://zenodo.org/records/2630551 (lambada-dataset.tar.gz)",
    hub=Hub(path="cimec/lambada", split="test", row=lambda row: passage_of(row["text"])),
)


class Config(FinalWord):
    """The test passages."""

    detokenize: bool = identity(False, description="undo the set's tokens: 'do n't .' becomes 'don't.'")

    def build(self, setting: Setting) -> FinalWordTask:
        """Return the task; MissingSet where the set is not there."""
        rows = setting.rows(SOURCE)
        if not self.detokenize:
            return FinalWordTask("lambada_original", "original text as it is", self, rows, setting)
        written = Rows([_written(passage) for passage in rows.rows], rows.sha256)
        return FinalWordTask("lambada_original", "original text, de-tokenized", self, written, setting)


def _written(passage: Passage) -> Passage:
    tokens = [token for token in passage.text.split(" ") if token]
    return Passage(TREEBANK.detokenize(tokens).text, passage.ending)
