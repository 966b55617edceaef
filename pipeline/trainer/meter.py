"""Speed since the last row: tokens per second, and what share of the hardware's peak that is."""

from __future__ import annotations

import time

from pipeline.trainer.hardware import Peak
from pipeline.trainer.steps import Step


class Meter:
    """Adds steps up; `mfu` is FLOP/s by a named formula over a named peak, None where that is not known."""

    def __init__(self, flops_per_token: int, tokens_per_step: int, peak: Peak | None, devices: int):
        self._flops_per_token, self._tokens_per_step = flops_per_token, tokens_per_step
        self._peak_flops = peak.flops * devices if peak else None
        self._steps, self._seconds, self._data_seconds = 0, 0.0, 0.0
        self._begun, self._done = time.monotonic(), 0
        self._shown_at, self._shown_steps = self._begun, 0
        self._speed = 0.0

    def add(self, step: Step) -> None:
        """Count one step."""
        self._steps += 1
        self._done += 1
        self._seconds += step.seconds
        self._data_seconds += step.data_seconds
        self._speed = self._tokens_per_step * self._steps / self._seconds

    def read(self) -> dict[str, float | None]:
        """Return the speed of the steps since the last reading, and start over."""
        row = {
            "tokens_per_second": self._speed,
            "mfu": self._mfu(),
            "step_seconds": self._seconds / self._steps,
            "data_seconds": self._data_seconds / self._steps,
            "elapsed_seconds": time.monotonic() - self._begun,
        }
        self._steps, self._seconds, self._data_seconds = 0, 0.0, 0.0
        return row

    def is_due(self, seconds: float) -> bool:
        """Tell whether people have seen nothing new for so long."""
        return time.monotonic() - self._shown_at >= seconds

    def unseen_tokens(self) -> int:
        """Return the tokens since this was asked last."""
        steps = self._done - self._shown_steps
        self._shown_at, self._shown_steps = time.monotonic(), self._done
        return steps * self._tokens_per_step

    def tell(self) -> str:
        """Return the speed for people."""
        mfu = self._mfu()
        return f"{self._speed:,.0f} tokens/s" + ("" if mfu is None else f"  mfu {mfu:.1%}")

    def _mfu(self) -> float | None:
        return self._speed * self._flops_per_token / self._peak_flops if self._peak_flops else None
