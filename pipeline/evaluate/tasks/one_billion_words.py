"""The One Billion Word benchmark (Chelba et al., 2013): shuffled sentences of news, as the GPT-2 paper scores
them (section 3.1, Table 3), on the first of the fifty held-out files, which papers report."""

from __future__ import annotations

from typing import Literal

from pipeline.config import identity
from pipeline.evaluate.detokenize import NEWS
from pipeline.evaluate.language import LanguageTask, Windows
from pipeline.evaluate.original import Text, read_lines, text_as_it_is, written_text
from pipeline.evaluate.task import Setting
from pipeline.formats.source import Source

_ARCHIVE = "1-billion-word-language-modeling-benchmark-r13output"
_HELD_OUT = f"{_ARCHIVE}/heldout-monolingual.tokenized.shuffled"

SOURCE = Source(
    name="One Billion Words",
    layouts=(
        (f"{_HELD_OUT}/news.en.heldout-00000-of-00050",),
        (f"format_samples/lm1b/plain_text/1.0.0/{_HELD_OUT}/news.en.heldout-*-of-00050",),
    ),
    parse=read_lines,
    where="https://www.statmt.org/lm-benchmark/",
)


class Config(Windows):
    """Its sentences: the paper does not say whether they see each other."""

    text: Literal["detokenized", "original"] = identity(
        "detokenized", description="original: with blanks between all tokens"
    )
    alone: bool = identity(False, description="each sentence after end-of-text; else one text, in lines")

    def build(self, setting: Setting) -> LanguageTask:
        """Return the task; MissingSet where the set is not there."""
        rows = setting.rows(SOURCE)
        texts, how = self._texts([[line] for line in rows.rows] if self.alone else [rows.rows])
        apart = "each sentence alone" if self.alone else "sentences in one text, each on a line"
        protocol = f"held-out file 0: {apart}, {how}; a line end is a word"
        sizes = self.sizes("one_billion_words", setting)
        return LanguageTask("one_billion_words", protocol, rows.sha256, texts, sizes, setting)

    def _texts(self, groups: list[list[str]]) -> tuple[list[Text], str]:
        if self.text == "original":
            return [text_as_it_is(lines) for lines in groups], "as it is, with a blank around every token"
        written = [written_text(lines, NEWS) for lines in groups]
        kept = sum(exceptions for _, exceptions in written)
        how = f"written by an invertible detokenizer ({kept} chunks are exceptions); bytes are the original's"
        return [text for text, _ in written], how
