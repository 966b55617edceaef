"""What every engine's configuration has: where the model lives, and how its blocks are run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pipeline.config import Schema, execution

if TYPE_CHECKING:
    import torch
    from torch import nn


class EngineSettings(Schema):
    """None of them changes what is trained: only rounding, memory and speed."""

    device: Literal["auto", "cpu", "cuda"] = execution("auto", description="where the model lives")
    threads: int | None = execution(
        None, ge=1, description="compute threads of each process on a CPU; default: what the environment says"
    )
    compile: bool = execution(False, description="compile each block of the model")
    activation_checkpointing: bool = execution(
        False, description="recompute each block in the backward pass: less memory, a third more work"
    )

    @property
    def thrifty(self) -> bool:
        """Whether this engine is chosen to hold little: on a CPU, freed memory then goes back at once."""
        return self.activation_checkpointing

    def place(self, model: nn.Module) -> torch.device:
        """Move a model to its device, ready to be trained or sharded; return the device.

        Blocks are compiled here, before any sharding: an engine's hooks then stay outside the compiled code.
        Raises ConfigError where there is no such device.
        """
        from pipeline.trainer.hardware import choose_device, set_threads

        set_threads(self.threads)
        device = choose_device(self.device)
        model.to(device)
        if self.activation_checkpointing:
            model.checkpoint_activations = True  # type: ignore[assignment]
        if self.compile:
            compile_blocks(model)
        return device


def compile_blocks(model: nn.Module) -> None:
    """Compile each repeated block: one graph serves all of them, and start-up stays short."""
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            for block in module:
                block.compile()
