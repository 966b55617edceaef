"""WikiText-2's test articles, one text, as the GPT-2 paper scores them (section 3.1, Table 3)."""

from __future__ import annotations

from pipeline.evaluate.language import LanguageTask
from pipeline.evaluate.task import Setting
from pipeline.evaluate.wikitext import RAW_TEST_SHA256, WikiText, source, task

SOURCES = {
    "raw": source(
        "WikiText-2 (raw)",
        ["wikitext-2-raw/wiki.test.raw", "wikitext2/raw/wiki.test.raw"],
        dict.fromkeys(("wikitext-2-raw/wiki.test.raw", "wikitext2/raw/wiki.test.raw"), RAW_TEST_SHA256),
        "wikitext-2-raw-v1",
    ),
    "tokens": source(
        "WikiText-2 (tokens)",
        ["wikitext-2/wiki.test.tokens", "wikitext2/tokens/test.txt"],
        {},
        "wikitext-2-v1",
    ),
}


class Config(WikiText):
    """Its articles in one text."""

    def build(self, setting: Setting) -> LanguageTask:
        """Return the task; MissingSet where the set is not there."""
        return task("wikitext2", self, setting.rows(SOURCES[self.version]), setting)
