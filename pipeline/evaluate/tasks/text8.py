"""text8 (Mahoney, 2006): Wikipedia in the letters a to z and blanks, as the GPT-2 paper scores it (section
3.1, Table 3)."""

from __future__ import annotations

from pipeline.evaluate.characters import parse, task
from pipeline.evaluate.language import LanguageTask, Windows
from pipeline.evaluate.task import Setting
from pipeline.formats.source import Source

SOURCE = Source(
    name="text8",
    layouts=(("text8/text8",), ("text8/text8.test",)),
    parse=parse,
    where="http://mattmahoney.net/dc/text8.zip",
)


class Config(Windows):
    """Its test part in one text."""

    def build(self, setting: Setting) -> LanguageTask:
        """Return the task; MissingSet where the set is not there."""
        return task("text8", self, setting.rows(SOURCE), setting)
