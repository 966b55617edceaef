"""The model whole on every process, each with its share of the batch: the least communication."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.trainer.optim import AdamW
from pipeline.trainer.settings import EngineSettings

if TYPE_CHECKING:
    from torch import nn

    from pipeline.trainer.ddp import Replicated
    from pipeline.trainer.engine import Objective, Precision


class Config(EngineSettings):
    """Weights, gradients and moments whole on every process; gradients are summed once a step."""

    def build(self, model: nn.Module, optim: AdamW, objective: Objective, precision: Precision) -> Replicated:
        """Join the processes and return the engine."""
        from pipeline.trainer.collective import join
        from pipeline.trainer.ddp import Replicated

        device = self.place(model)
        join(device)
        return Replicated(model, optim, objective, precision, device)
