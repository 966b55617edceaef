"""Which stages there are, and a stage with its configuration."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.errors import ConfigError

STAGES = ("data", "train", "evaluate", "finetune", "study")


def load_stage(verb: str, config: Path, overrides: Sequence[str] | None = None) -> tuple[ModuleType, Any]:
    """Return the module of a stage and its configuration; ConfigError for a stage that there is none of."""
    from pipeline.config import did_you_mean, load

    if verb not in STAGES:
        raise ConfigError(f"{verb}: no such stage{did_you_mean(verb, STAGES)}; there are {', '.join(STAGES)}")
    stage = importlib.import_module(f"pipeline.{verb}.stage")
    return stage, load(stage.Config, config, overrides or ())
