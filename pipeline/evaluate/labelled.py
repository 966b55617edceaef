"""Datasets that fine-tuning learns from, put to a network that was not fine-tuned (GPT-1, section 5).

The paper tells each heuristic in a sentence, and gives its figures in a drawing alone (figure 2, right).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pipeline.config import Kind
from pipeline.evaluate.context import CUT_RULE, fitted, nats_of, windows
from pipeline.evaluate.task import Example, LogLikelihood, Reply, Setting

SPLIT = "validation"
PROTOCOL = f"after end-of-text; {CUT_RULE}"


Dataset = Annotated[Any, Kind("pipeline.finetune.datasets", bare=True)]


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


class Endings:
    """A task whose examples are the rows of a dataset, each asked what some endings cost after a context."""

    def __init__(self, dataset: Any, setting: Setting):
        split = read(dataset, setting)
        self._rows, self._setting = split.examples[: setting.limit], setting
        self.data_sha256 = split.sha256

    def examples(self) -> Sequence[Example]:
        """Return the rows."""
        return [Example(number=number, content=row) for number, row in enumerate(self._rows)]

    def requests(self, example: Example) -> Sequence[LogLikelihood]:
        """Return what is asked of every ending."""
        return [request for asked, _ in self._asked(example) for request in asked]

    def texts(self, row: Any) -> tuple[str, Sequence[str]]:
        """Return a row's context and endings."""
        raise NotImplementedError

    def nats(self, example: Example, replies: Sequence[Reply]) -> list[list[float]]:
        """Return what each token of each ending costs."""
        answers = iter(replies)
        return [nats_of(answers, requests) for requests, _ in self._asked(example)]

    def is_cut(self, example: Example) -> bool:
        """Tell whether the context of any ending was cut."""
        return any(cut for _, cut in self._asked(example))

    def _asked(self, example: Example) -> list[tuple[list[LogLikelihood], bool]]:
        context, endings = self.texts(example.content)
        return [continued(self._setting, context, ending) for ending in endings]
