"""PyTorch's FSDP2: weights, gradients and moments sharded over the processes of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launch.environment import world_size
from pipeline.config import execution
from pipeline.errors import ConfigError
from pipeline.trainer.optim import AdamW
from pipeline.trainer.settings import EngineSettings

if TYPE_CHECKING:
    from torch import nn

    from pipeline.trainer.engine import Objective, Precision
    from pipeline.trainer.fsdp2 import Sharded


class Config(EngineSettings):
    """`reshard` true is much like ZeRO 3, false like ZeRO 2; replicas of sharded groups are HSDP."""

    reshard: bool = execution(
        True, description="give weights back after each pass: less memory, more communication"
    )
    replicas: int = execution(
        1, ge=1, description="copies of the sharded model; one per node keeps sharding inside nodes"
    )
    offload: bool = execution(False, description="keep shards, gradients and moments in the CPU's memory")

    @property
    def thrifty(self) -> bool:
        """Sharding is for memory's sake."""
        return True

    def build(self, model: nn.Module, optim: AdamW, objective: Objective, precision: Precision) -> Sharded:
        """Join the processes and return the engine; ConfigError where the replicas do not divide them."""
        if world_size() % self.replicas:
            divisors = ", ".join(str(n) for n in range(1, world_size() + 1) if not world_size() % n)
            raise ConfigError(
                f"engine.replicas: {self.replicas} does not divide this job's {world_size()} processes;"
                f" use one of {divisors}"
            )
        from pipeline.trainer.collective import join
        from pipeline.trainer.fsdp2 import Sharded

        device = self.place(model)
        join(device)
        return Sharded(
            model,
            optim,
            objective,
            precision,
            device,
            reshard=self.reshard,
            replicas=self.replicas,
            offload=self.offload,
        )
