"""Datasets that fine-tuning learns from, put to a network that was not fine-tuned (GPT-1, section 5).

The paper tells each heuristic in a sentence, and gives its figures in a drawing alone (figure 2, right).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from pipeline.config import Kind
from pipeline.evaluate.context import CUT_RULE, fitted, windows
from pipeline.evaluate.task import LogLikelihood, Setting

SPLIT = "validation"
PROTOCOL = f"after end-of-text; {CUT_RULE}"


def _with_kind(value: Any) -> Any:
    """Take a dataset's bare name for the dataset as it comes."""
    return {"kind": value} if isinstance(value, str) else value


Dataset = Annotated[Any, Kind("pipeline.finetune.datasets"), BeforeValidator(_with_kind)]


def read(dataset: Any, setting: Setting, split: str = SPLIT) -> Any:
    """Return a split of a dataset, of which the limit is not taken; MissingSet where it is not there."""
    return dataset.build().read(split, setting.data, setting.check_sums)


def continued(setting: Setting, context: str, ending: str) -> tuple[list[LogLikelihood], bool]:
    """Return what to ask to know what an ending costs after a context, and whether that was cut."""
    tokenizer, n_ctx = setting.tokenizer, setting.n_ctx
    before = [tokenizer.eot_id, *tokenizer.encode(context)]
    target = tokenizer.encode(ending)
    kept = fitted(before, len(target) - 1, n_ctx)
    return windows(kept, target, n_ctx), len(kept) < len(before)
