"""The Penn Treebank's test text as language models know it (Mikolov et al., 2010), as the GPT-2 paper scores
it (section 3.1, Table 3): lower case, without punctuation, rare words `<unk>`, numbers `N`."""

from __future__ import annotations

from typing import Literal

from pipeline.config import identity
from pipeline.evaluate.detokenize import bare_treebank
from pipeline.evaluate.language import LanguageTask, Windows
from pipeline.evaluate.original import read_lines, text_as_it_is, written_text
from pipeline.evaluate.task import Setting
from pipeline.formats.source import Hub, Source

SOURCE = Source(
    name="Penn Treebank",
    layouts=(("simple-examples/data/ptb.test.txt",), ("ptb/ptb.test.txt",)),
    parse=read_lines,
    where="http://www.fit.vutbr.cz/~imikolov/rnnlm/simple-examples.tgz",
    hub=Hub(
        path="ptb-text-only/ptb_text_only",
        split="test",
        revision="refs/convert/parquet",
        row=lambda row: f" {row['sentence']} \n",
    ),
)


class Config(Windows):
    """Its sentences in one text, each on a line."""

    text: Literal["detokenized", "original"] = identity(
        "detokenized", description="original: with blanks between all tokens"
    )
    number: str = identity("N", min_length=1, description="what is written for N, the set's number")

    def build(self, setting: Setting) -> LanguageTask:
        """Return the task; MissingSet where the set is not there."""
        rows = setting.rows(SOURCE)
        how = "one text as it is, with a blank around every token"
        if self.text == "original":
            text = text_as_it_is(rows.rows)
        else:
            text, kept = written_text(rows.rows, bare_treebank(self.number))
            how = (
                f"one text, written by an invertible detokenizer ({kept} chunks are exceptions), a number as "
                f"{self.number}; bytes are the original's"
            )
        protocol = f"test file: {how}; a line end is a word"
        return LanguageTask("ptb", protocol, rows.sha256, [text], self.sizes("ptb", setting), setting)
