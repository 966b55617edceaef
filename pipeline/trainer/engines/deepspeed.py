"""DeepSpeed's ZeRO, stages 0 to 3: optimizer, gradients and weights sharded over the processes of a job."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydantic

from launch.environment import restart_count
from pipeline.config import execution
from pipeline.trainer.optim import AdamW
from pipeline.trainer.settings import EngineSettings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pipeline.trainer.engine import Objective, Precision
    from pipeline.trainer.zero import Zero
    from pipeline.trainer.zero_stages import Stage

# DeepSpeed allocates a bucket of fp32 whole, 2 GB by its own default; at 200 MB the links are long busy.
BUCKET_ELEMENTS = 50_000_000
# Weights up to this size stay whole on every process in ZeRO 3: gathering a norm's gain is all latency.
PERSISTENT_ELEMENTS = 100_000


class Config(EngineSettings):
    """`zero_stage` shards nothing (0), the optimizer (1), gradients too (2), weights too (3).

    With `offload` the optimizer's moments and master weights lie in the CPU's memory and torch's fused AdamW
    updates them there: the kernel of `single`, where DeepSpeed's own would have to be compiled by every job.
    """

    zero_stage: Literal[0, 1, 2, 3] = execution(1, description="what is sharded over the processes")
    offload: bool = execution(False, description="keep and step the optimizer on the CPU (ZeRO 1 to 3)")
    overlap_communication: bool | None = execution(
        None, description="reduce gradients during the backward pass; default: in ZeRO 2 and 3 on GPUs"
    )

    @pydantic.field_validator("zero_stage", mode="before")
    @classmethod
    def _is_a_number(cls, value: Any) -> Any:
        if isinstance(value, bool):  # which equals 0 or 1
            raise ValueError(f"{str(value).lower()} is no stage; give 0, 1, 2 or 3")
        return value

    @pydantic.model_validator(mode="after")
    def _offload_needs_zero(self) -> Config:
        if self.offload and self.zero_stage == 0:
            raise ValueError("offload: ZeRO 0 keeps a plain optimizer; use zero_stage: 1, 2 or 3")
        return self

    @property
    def thrifty(self) -> bool:
        """So is every stage of ZeRO that shards."""
        return self.activation_checkpointing or self.zero_stage > 0

    def build(self, model: nn.Module, optim: AdamW, objective: Objective, precision: Precision) -> Zero:
        """Join the processes and return the engine."""
        from pipeline.trainer.optim import torch_adamw
        from pipeline.trainer.zero import Zero
        from pipeline.trainer.zero_stages import gather_by_block

        sharded = self.zero_stage == 3
        device = (self.model_copy(update={"compile": False}) if sharded else self).place(model)
        deepspeed = _start(device)
        if sharded:
            gather_by_block(deepspeed, model, self.compile)
        optimizer = torch_adamw(model.parameters(), optim)
        elements = sum(parameter.numel() for parameter in model.parameters())
        settings = self._settings(optim, precision, device, elements)
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings)
        stage = self._stage(deepspeed, engine, optim, precision)
        return Zero(engine, stage, objective, precision, device)

    def _stage(self, deepspeed: Any, engine: Any, optim: AdamW, precision: Precision) -> Stage:
        from pipeline.trainer.zero_stages import Replicated, ShardedOptimizer, ShardedWeights

        if self.zero_stage == 0:
            return Replicated(engine, optim.grad_clip)
        if self.zero_stage == 3:
            return ShardedWeights(deepspeed, engine, precision)
        return ShardedOptimizer(deepspeed, engine)

    def _settings(
        self, optim: AdamW, precision: Precision, device: torch.device, elements: int
    ) -> dict[str, Any]:
        """Return DeepSpeed's own configuration for a model of so many elements."""
        overlap = self.overlap_communication
        zero: dict[str, Any] = {
            "stage": self.zero_stage,
            "overlap_comm": self.zero_stage >= 2 and device.type == "cuda" if overlap is None else overlap,
            "reduce_bucket_size": min(elements, BUCKET_ELEMENTS),
            "allgather_bucket_size": min(elements + elements % 2, BUCKET_ELEMENTS),  # DeepSpeed wants it even
            "stage3_prefetch_bucket_size": min(elements, BUCKET_ELEMENTS),
            "stage3_param_persistence_threshold": PERSISTENT_ELEMENTS,
        }
        if self.offload:
            zero["offload_optimizer"] = {"device": "cpu", "pin_memory": device.type == "cuda"}
        return {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            # Absent would mean 1.0. ZeRO 0 keeps a plain optimizer, which tells no norm: the clip is ours.
            "gradient_clipping": optim.grad_clip if self.zero_stage else 0.0,
            "zero_optimization": zero,
            # Without it DeepSpeed turns an autocast around it off, on GPUs. No module is safe for lower
            # precision in its sense, which is to be gathered and reduced in it.
            "torch_autocast": {
                "enabled": precision == "bf16",
                "dtype": "bfloat16",
                "lower_precision_safe_modules": [],
            },
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "timers": {"throughput": {"enabled": False}},  # it waits for the GPU at every micro-batch
            "steps_per_print": 2**31,
        }


def _start(device: torch.device) -> Any:
    """Import DeepSpeed with its traps closed, and join the processes."""
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(_extensions()))
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1")):
        os.environ.setdefault(name, value)
    import deepspeed

    from pipeline.trainer.collective import join

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # torch 2.13 renamed two collectives that DeepSpeed 0.19 calls by their old names, at every step.
    warnings.filterwarnings(
        "ignore",
        message=r"`torch\.distributed\.(all_gather_into_tensor|reduce_scatter_tensor)` is deprecated",
        category=FutureWarning,
        module=r"torch\.distributed\.",
    )
    if device.type == "cpu":
        # Compiling the shared-memory collectives takes minutes; gloo's do.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    join(device)
    deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)
    return deepspeed


def _extensions() -> Path:
    """Return a folder for compiled extensions that the processes of one start on one node share.

    torch's lock on it is a file that a killed build leaves behind, and waiting for it has no end: no two jobs
    and no two attempts may meet here, nor a job and a dead one whose process number came round again.
    """
    parent = os.getppid()
    try:
        # Field 22 of stat(5): when the parent started, in ticks since the machine did.
        began = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        began = "0"
    name = f"loglinear-extensions-{os.getuid()}-{parent}-{began}-{restart_count()}"
    return Path(tempfile.gettempdir(), name)
