"""WikiText-103's test articles, one text, as the GPT-2 paper scores them (section 3.1, Table 3).

Raw they are those of WikiText-2; with `<unk>` they have fewer of it, for its vocabulary is larger.
"""

from __future__ import annotations

from pipeline.evaluate.language import LanguageTask
from pipeline.evaluate.task import Setting
from pipeline.evaluate.wikitext import WikiText, source, task

SOURCES = {
    "raw": source(
        "WikiText-103 (raw)",
        ["wikitext-103-raw/wiki.test.raw", "wikitext-2-raw/wiki.test.raw", "wikitext2/raw/wiki.test.raw"],
        {},
        "wikitext-103-raw-v1",
    ),
    "tokens": source("WikiText-103 (tokens)", ["wikitext-103/wiki.test.tokens"], {}, "wikitext-103-v1"),
}


class Config(WikiText):
    """Its articles in one text."""

    def build(self, setting: Setting) -> LanguageTask:
        """Return the task; MissingSet where the set is not there."""
        return task("wikitext103", self, setting.rows(SOURCES[self.version]), setting)
