"""How fast a run is and how well its time is used.

Over the steps since the last row: tokens per second, what share of the hardware's peak that is (`mfu`), and
how long a step took and waited for its data. Over the run's whole life: `goodput`, the share of its time
that went into optimizer steps which are part of the result. Time is that of all attempts together, from where
each begins to build its model; pauses between attempts are left out, for nobody knows whether they were
meant. Lost is everything else: starting, the first step of an attempt (it compiles and fills caches), waiting
for data, validation, samples, writing checkpoints as far as training waited, steps that were skipped, and
steps that a restart or a rollback took again. What an attempt did after its last row, before it was killed,
is not seen. All times are those of the first process; that others wait for data it sees as slower steps.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.trainer.hardware import Peak
from pipeline.trainer.steps import Step


@dataclass(frozen=True)
class Past:
    """What earlier attempts of a run left in its rows: `productive_seconds` of `elapsed_seconds` (goodput's
    two parts), and the last step that any of them wrote a row of."""

    productive_seconds: float = 0.0
    elapsed_seconds: float = 0.0
    last_step: int = 0

    @classmethod
    def of(cls, kept: Sequence[Mapping[str, Any]], dropped: Sequence[Mapping[str, Any]]) -> Past:
        """Return the past that rows tell: those this attempt goes on from, and those it will write again."""
        timed = [row for row in kept if "goodput" in row]
        spent = [row["elapsed_seconds"] for row in (*timed, *dropped) if "elapsed_seconds" in row]
        return cls(
            productive_seconds=timed[-1]["goodput"] * timed[-1]["elapsed_seconds"] if timed else 0.0,
            elapsed_seconds=max(spent, default=0.0),
            last_step=max((row.get("step", 0) for row in (*kept, *dropped)), default=0),
        )


class Meter:
    """Adds steps up; `mfu` is FLOP/s by a named formula over a named peak, None where that is not known.

    `begun` is when this attempt began, by `time.monotonic`; now, where it is not given.
    """

    def __init__(
        self,
        flops_per_token: int,
        tokens_per_step: int,
        peak: Peak | None,
        devices: int,
        begun: float | None = None,
    ):
        self._flops_per_token, self._tokens_per_step = flops_per_token, tokens_per_step
        self._peak_flops = peak.flops * devices if peak else None
        self._steps, self._seconds, self._data_seconds = 0, 0.0, 0.0
        self._past, self._begun = Past(), time.monotonic() if begun is None else begun
        self._first_step: int | None = None
        self._productive = array("d")  # this attempt's productive seconds by the end of each of its steps
        self._shown_at, self._unseen_steps = self._begun, 0
        self._speed = 0.0

    def go_on_from(self, past: Past) -> None:
        """Count what earlier attempts left, too."""
        self._past = past

    def add(self, step: Step) -> None:
        """Count one step."""
        self._steps += 1
        self._unseen_steps += 1
        self._seconds += step.seconds
        self._data_seconds += step.data_seconds
        self._speed = self._tokens_per_step * self._steps / self._seconds
        self._add_productive(step)

    def read(self) -> dict[str, float | None]:
        """Return the speed of the steps since the last reading, and start over."""
        elapsed_seconds = self._past.elapsed_seconds + time.monotonic() - self._begun
        row = {
            "tokens_per_second": self._speed,
            "mfu": self._mfu(),
            "step_seconds": self._seconds / self._steps,
            "data_seconds": self._data_seconds / self._steps,
            "goodput": (self._past.productive_seconds + self._productive[-1]) / elapsed_seconds,
            "elapsed_seconds": elapsed_seconds,
        }
        self._steps, self._seconds, self._data_seconds = 0, 0.0, 0.0
        return row

    def is_due(self, seconds: float) -> bool:
        """Tell whether people have seen nothing new for so long."""
        return time.monotonic() - self._shown_at >= seconds

    def unseen_tokens(self) -> int:
        """Return the tokens since this was asked last."""
        steps, self._unseen_steps = self._unseen_steps, 0
        self._shown_at = time.monotonic()
        return steps * self._tokens_per_step

    def tell(self) -> str:
        """Return the speed for people."""
        mfu = self._mfu()
        return f"{self._speed:,.0f} tokens/s" + ("" if mfu is None else f"  mfu {mfu:.1%}")

    def _add_productive(self, step: Step) -> None:
        """Count what of a step made the result; a number seen before means that the run was rolled back."""
        if self._first_step is None:
            self._first_step = step.number
        del self._productive[max(step.number - self._first_step, 0) :]
        counts = step.stats.applied and len(self._productive) > 0
        before = self._productive[-1] if self._productive else 0.0
        self._productive.append(before + (step.seconds - step.data_seconds if counts else 0.0))

    def _mfu(self) -> float | None:
        return self._speed * self._flops_per_token / self._peak_flops if self._peak_flops else None
