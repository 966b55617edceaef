"""Going back: to which checkpoint, past which windows, and what to say where there is no way back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import differences
from pipeline.errors import FormatError
from pipeline.formats.checkpoint import Meta
from pipeline.trainer.spikes import Watch

if TYPE_CHECKING:
    from pipeline.train.stage import Config

Interval = tuple[int, int]


def is_good(meta: Meta) -> bool:
    """Tell whether a checkpoint was written outside a streak of bad steps."""
    return not meta.watch.get("skipped_in_a_row", 0)


def refuse_foreign(meta: Meta, identity: Mapping[str, Any], data_hash: str) -> None:
    """Raise FormatError if a checkpoint is of other data or of another model than a run's."""
    theirs = meta.identity.get("model", {})  # what a later version has added to a model is not compared
    ours = {name: identity["model"].get(name) for name in theirs}
    lines = differences({"data": meta.data_hash, "model": theirs}, {"data": data_hash, "model": ours})
    if lines:
        raise FormatError(f"of another run: {'; '.join(lines)}; put it back where it belongs")


def with_skipped(
    skipped: tuple[Interval, ...], start: int, end: int
) -> tuple[Interval, tuple[Interval, ...]]:
    """Return the interval of the stream that holds the kept windows from `start` to before `end`, and all
    intervals to skip once that one is among them.
    """
    added = (position(start, skipped), position(end - 1, skipped) + 1)
    # It may reach across older ones, but never cuts one: none of their windows is kept.
    outside = [each for each in skipped if each[1] <= added[0] or each[0] >= added[1]]
    return added, tuple(sorted([*outside, added]))


def position(kept: int, skipped: tuple[Interval, ...]) -> int:
    """Return where in the stream the kept window of a number lies; both count from 0."""
    for start, end in sorted(skipped):
        if kept >= start:
            kept += end - start
    return kept


def no_way_back(config: Config, watch: Watch, step: int, good: Path | None) -> str:
    """Return what to do after a streak of bad steps that no rollback ends."""
    fault = (
        f"{config.out}: the last {watch.skipped_in_a_row} steps up to step {step:,} were skipped"
        " (the events in metrics.jsonl say why)"
    )
    if good is None:
        return (
            f"{fault}, and there is no checkpoint before them to go back to. In a new out, lower optim.lr or"
            " lengthen schedule.warmup_tokens; or look at the data"
        )
    return (
        f"{fault}, and {watch.rollbacks} rollbacks did not help (spikes.max_rollbacks). {good} is good: go on"
        f" from it in a new out with init.checkpoint={good} init.what=state and a lower optim.lr; or look at"
        " the data"
    )
