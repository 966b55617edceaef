"""One process, one device: the engine that the others are proven equal to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from launch.environment import world_size
from pipeline.config import Schema, execution
from pipeline.errors import ConfigError
from pipeline.trainer.optim import AdamW

if TYPE_CHECKING:
    from torch import nn

    from pipeline.trainer.engine import Objective, Precision
    from pipeline.trainer.single import Single


class Config(Schema):
    """`compile` compiles each block; `threads` are torch's on a CPU (default: what the environment says)."""

    device: Literal["auto", "cpu", "cuda"] = execution("auto", description="where the model lives")
    compile: bool = execution(False, description="compile each block of the model")
    threads: int | None = execution(None, ge=1, description="compute threads on a CPU")

    def build(self, model: nn.Module, optim: AdamW, objective: Objective, precision: Precision) -> Single:
        """Return the engine; ConfigError in a job of several processes."""
        if world_size() > 1:
            raise ConfigError(
                f"engine.kind: single is one process, this job has {world_size()}; use kind: deepspeed"
            )
        from pipeline.trainer.hardware import choose_device, set_threads
        from pipeline.trainer.single import Single, compile_blocks

        set_threads(self.threads)
        device = choose_device(self.device)
        if self.compile:
            compile_blocks(model)
        return Single(model.to(device), optim, objective, precision, device)
