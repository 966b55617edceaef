"""Whole training steps of the same network on the same batch: ours through a real engine, and the peers'.

A step is forward, backward, clip of the global norm at 1, fused AdamW with the same decay groups; the peers
take torch's own `clip_grad_norm_` and `AdamW(fused=True)`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.training.plain import PlainGPT
from model.config import GPTConfig, flops_per_token
from model.transformer import GPT
from model.weights import to_hugging_face
from pipeline.trainer.engine import Engine, NextToken, Precision, Tokens
from pipeline.trainer.optim import AdamW, torch_adamw

FORMULA = "6N_matmul + 6LdT"
OPTIM = AdamW(lr=1e-4, grad_clip=1.0)
COMPILED = " compiled"
PEERS = ("plain", "plain compiled", "transformers", "transformers compiled")

Step = Callable[[], float]
"""Takes one whole training step and returns its loss before the update."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every contender trains."""

    config: GPTConfig
    sequences: int
    precision: Precision = "fp32"
    device: str = "cpu"
    threads: int | None = None

    @property
    def tokens(self) -> int:
        """Return the tokens of a step."""
        return self.sequences * self.config.n_ctx

    @property
    def flops(self) -> float:
        """Return the FLOPs of a step by FORMULA."""
        return float(self.tokens * flops_per_token(self.config, self.config.n_ctx, FORMULA))

    def network(self) -> GPT:
        """Return the network with the weights that all start from, on the CPU."""
        torch.manual_seed(0)
        return GPT(self.config)

    def batch(self) -> Tokens:
        """Return the batch that all train on, on the CPU."""
        generator = torch.Generator().manual_seed(1)
        shape = (self.sequences, self.config.n_ctx + 1)
        ids = torch.randint(0, self.config.vocab_size, shape, generator=generator)
        return Tokens(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())


def contender(
    name: str, task: Task, engine: str = "single", options: Mapping[str, Any] | None = None
) -> Step:
    """Return a contender's step: `ours` (by an engine with options of its Config) or one of PEERS, each also
    as `… compiled`.
    """
    kind, compiled = name.removesuffix(COMPILED), name.endswith(COMPILED)
    if kind == "ours":
        return _ours(task, engine, {**(options or {}), "compile": compiled})
    module = {"plain": _plain, "transformers": _transformers}[kind](task)
    return _peer(module, task, compiled)


def engine_of(task: Task, kind: str, options: Mapping[str, Any]) -> Engine:
    """Return an engine of ours around the task's network."""
    known = importlib.import_module(f"pipeline.trainer.engines.{kind}").Config
    places = {"device": task.device, "threads": task.threads}
    config = known(**{**{name: places[name] for name in places if name in known.model_fields}, **options})
    engine: Engine = config.build(task.network(), OPTIM, NextToken(), task.precision)
    return engine


def _ours(task: Task, kind: str, options: Mapping[str, Any]) -> Step:
    engine, batch = engine_of(task, kind, options), task.batch()
    return lambda: engine.train_step([batch], OPTIM.lr).loss


def _peer(module: nn.Module, task: Task, compiled: bool) -> Step:
    module = module.to(task.device).train()
    optimizer = torch_adamw(module.parameters(), OPTIM)
    batch = task.batch().to(torch.device(task.device))
    called = torch.compile(module) if compiled else module

    def step() -> float:
        with torch.autocast(task.device, torch.bfloat16, enabled=task.precision == "bf16"):
            loss = called(batch.inputs, batch.targets)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), OPTIM.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.item())

    return step


def _plain(task: Task) -> nn.Module:
    module = PlainGPT(task.config)
    module.load_state_dict(task.network().state_dict())
    return module


def _transformers(task: Task) -> nn.Module:
    from transformers import GPT2Config

    config = task.config
    theirs = GPT2Config(
        **{name: getattr(config, name) for name in ("n_layer", "n_head", "n_embd", "vocab_size")},
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
        n_positions=config.n_ctx,
        bos_token_id=0,
        eos_token_id=0,
        use_cache=False,
        attn_implementation="sdpa",
    )
    return Transformers(theirs, to_hugging_face(task.network().state_dict()))


class Transformers(nn.Module):
    """transformers' GPT-2 with its own loss, called as the plain one is."""

    def __init__(self, config: Any, state: Mapping[str, Tensor]):
        from transformers import GPT2LMHeadModel

        super().__init__()
        self.model = GPT2LMHeadModel(config)
        self.model.transformer.load_state_dict(dict(state), strict=False)
        self.model.tie_weights()

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats."""
        loss: Tensor = self.model(ids, labels=targets, shift_labels=targets).loss
        return loss


def agree(losses: Mapping[str, float], bound: float) -> None:
    """Raise RuntimeError if contenders do not compute the same loss."""
    if _spread(losses.values()) > bound:
        raise RuntimeError(f"the contenders do not compute the same: {dict(losses)}")


def _spread(values: Iterable[float]) -> float:
    found = list(values)
    return max(found) - min(found)
