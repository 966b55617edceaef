"""One process, one device: the engine that the others are proven equal to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launch.environment import world_size
from pipeline.errors import ConfigError
from pipeline.trainer.optim import AdamW
from pipeline.trainer.settings import EngineSettings

if TYPE_CHECKING:
    from torch import nn

    from pipeline.trainer.engine import Objective, Precision
    from pipeline.trainer.single import Single


class Config(EngineSettings):
    """The model whole on one device."""

    def build(self, model: nn.Module, optim: AdamW, objective: Objective, precision: Precision) -> Single:
        """Return the engine; ConfigError in a job of several processes."""
        if world_size() > 1:
            raise ConfigError(
                f"engine.kind: single is one process, this job has {world_size()};"
                " use kind: ddp, fsdp2 or deepspeed"
            )
        from pipeline.trainer.single import Single

        return Single(model, optim, objective, precision, self.place(model))
