"""enwik8 (Hutter, 2006): the first 100 MB of Wikipedia's source, as the GPT-2 paper scores it (section 3.1,
Table 3)."""

from __future__ import annotations

from pipeline.evaluate.characters import parse, task
from pipeline.evaluate.language import LanguageTask, Windows
from pipeline.evaluate.task import Setting
from pipeline.formats.source import Source

SOURCE = Source(
    name="enwik8",
    layouts=(("enwik8/enwik8",), ("enwik8/enwik8.test",)),
    parse=parse,
    where="http://mattmahoney.net/dc/enwik8.zip",
    sums={
        "enwik8/enwik8": "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
        "enwik8/enwik8.test": "86f62c0adeb6c27763f308b8913bec743626421a4d2b4010f1e177a40eef7750",
    },
)


class Config(Windows):
    """Its test part in one text."""

    def build(self, setting: Setting) -> LanguageTask:
        """Return the task; MissingSet where the set is not there."""
        return task("enwik8", self, setting.rows(SOURCE), setting)
