"""DeepSpeed's ZeRO, stages 0 to 3: optimizer, gradients and weights sharded over the processes of a job."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.config import Schema, execution
from pipeline.trainer.optim import AdamW

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pipeline.trainer.engine import Objective, Precision
    from pipeline.trainer.zero import Zero


class Config(Schema):
    """`zero_stage` shards nothing (0), the optimizer (1), gradients too (2), weights too (3)."""

    zero_stage: Literal[0, 1, 2, 3] = execution(1, description="what is sharded over the processes")
    device: Literal["auto", "cpu", "cuda"] = execution("auto", description="where the model lives")
    threads: int | None = execution(None, ge=1, description="compute threads of each process on a CPU")

    def build(self, model: nn.Module, optim: AdamW, objective: Objective, precision: Precision) -> Zero:
        """Join the processes and return the engine."""
        from pipeline.trainer.hardware import choose_device, set_threads
        from pipeline.trainer.optim import torch_adamw
        from pipeline.trainer.zero import PlainZero, Zero

        set_threads(self.threads)
        device = choose_device(self.device)
        deepspeed = _start(device)
        model = model.to(device)
        optimizer = torch_adamw(model.parameters(), optim)
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=self._settings(optim))
        kind = Zero if self.zero_stage else PlainZero
        return kind(deepspeed, engine, optim, objective, precision, device)

    def _settings(self, optim: AdamW) -> dict[str, Any]:
        # ZeRO 0 keeps a plain optimizer, which tells no norm and would apply a NaN: there the clip is ours.
        return {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            "gradient_clipping": optim.grad_clip if self.zero_stage else 0.0,  # absent would mean 1.0
            "zero_optimization": {"stage": self.zero_stage},
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 2**31,
        }


def _start(device: torch.device) -> Any:
    """Import DeepSpeed with its traps closed, and join the processes."""
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    # torch's lock on this folder is a file that a killed build leaves behind, and waiting for it has no end.
    own = Path(tempfile.gettempdir(), f"loglinear-extensions-{os.getuid()}-{os.getppid()}")
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(own))
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1")):
        os.environ.setdefault(name, value)
    import deepspeed
    import torch.distributed as dist

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # torch 2.13 renamed two collectives that DeepSpeed 0.19 calls by their old names, at every step.
    warnings.filterwarnings(
        "ignore", message=r".*(all_gather_into_tensor|reduce_scatter_tensor).*", category=FutureWarning
    )
    if device.type == "cpu":
        # Compiling the shared-memory collectives takes minutes; gloo's do.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if not dist.is_initialized():
        _join(device)
    deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)
    return deepspeed


def _join(device: torch.device) -> None:
    import torch.distributed as dist

    backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
    if "MASTER_ADDR" in os.environ:
        dist.init_process_group(backend)
    else:  # nobody has started several processes: this one needs no port to meet itself
        store = dist.HashStore()  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=store, rank=0, world_size=1)
