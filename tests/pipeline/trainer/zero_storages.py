"""A process that takes steps under ZeRO as one of eight that are not there, and tells its storages' peak.

python -m tests.pipeline.trainer.zero_storages STAGE
"""

from __future__ import annotations

import os
import sys
import weakref

import torch
import torch.distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from model.config import GPTConfig
from model.transformer import GPT
from pipeline.trainer.engine import NextToken, Tokens
from pipeline.trainer.engines import deepspeed
from pipeline.trainer.optim import AdamW

TINY = GPTConfig(n_layer=4, n_head=4, n_embd=256, n_ctx=64, vocab_size=2000)
PROCESSES = 8


class Storages(TorchDispatchMode):
    """Adds up the bytes of all storages alive that an operation has taken or returned."""

    def __init__(self):
        super().__init__()
        self.held = self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_iter((args, kwargs, result)):
            if isinstance(tensor, torch.Tensor) and not tensor.is_meta:
                self._count(tensor.untyped_storage())
        self.peak = max(self.peak, self.held)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._sizes:
            weakref.finalize(storage, self._forget, key)
        self.held += storage.nbytes() - self._sizes.get(key, 0)
        self._sizes[key] = storage.nbytes()

    def _forget(self, key: int) -> None:
        self.held -= self._sizes.pop(key)


def main(stage: int) -> int:
    from torch.testing._internal.distributed.fake_pg import FakeStore

    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": str(PROCESSES)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}  # nobody is asked
    dist.init_process_group("fake", rank=0, world_size=PROCESSES, store=FakeStore())
    ids = torch.zeros(4, TINY.n_ctx, dtype=torch.int64)
    with Storages() as storages:
        config = deepspeed.Config(device="cpu", zero_stage=stage)
        engine = config.build(GPT(TINY), AdamW(lr=1e-4), NextToken(), "fp32")
        engine.train_step([Tokens(ids, ids)], lr=1e-4)
        storages.peak = 0
        engine.train_step([Tokens(ids, ids)], lr=1e-4)
    return storages.peak


if __name__ == "__main__":
    sys.stdout.write(f"{main(int(sys.argv[1]))}\n")
    sys.stdout.flush()
    os._exit(0)  # DeepSpeed's end would wait for the others
