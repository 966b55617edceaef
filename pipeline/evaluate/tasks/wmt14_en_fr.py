"""Translation from English to French, newstest2014 (GPT-2 paper, section 3.7)."""

from __future__ import annotations

from pipeline.evaluate.task import Setting
from pipeline.evaluate.translation import Translation, TranslationConfig


class Config(TranslationConfig):
    """The paper's protocol, English to French."""

    def build(self, setting: Setting) -> Translation:
        """Return the task; MissingSet without its set, ConfigError without sacrebleu."""
        return Translation("wmt14_en_fr", self, setting, to="french")
