"""The Children's Book Test, common nouns (Hill et al., 2016), as the GPT-2 paper scores it."""

from __future__ import annotations

from pipeline.evaluate.cloze import Cloze, ClozeTask, source
from pipeline.evaluate.task import Setting

SOURCE = source("Children's Book Test (common nouns)", "CN")


class Config(Cloze):
    """Common nouns."""

    def build(self, setting: Setting) -> ClozeTask:
        """Return the task; MissingSet where the set is not there."""
        return ClozeTask("cbt_cn", "common nouns", self, setting.rows(SOURCE), setting)
