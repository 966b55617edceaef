"""Objectives with faults that belong to windows of the data, a kill of a step's, a stop of a validation's."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.formats.manifest import Manifest
from pipeline.formats.run import Run
from pipeline.train.sampler import Order, Windows
from pipeline.train.stage import Config
from pipeline.trainer.engine import NextToken, Tokens
from pipeline.trainer.stop import FILE_POLL_SECONDS


class Killed(BaseException):
    """What a test ends a run with: nothing of ours catches it."""


def windows_of(config: Config, steps: list[int], reach: int = 120) -> list[tuple[int, ...]]:
    """Return one window of each of the steps, counted from 1, as the inputs that an engine sees.

    Each is the rarest of its step within `reach` positions of the stream: the text repeats itself.
    """
    manifest = Manifest.read(config.data)
    tokens = config.sequence_tokens or config.model.n_ctx
    windows = Windows(config.data, manifest, "train", tokens)
    order = Order(windows.count, manifest.hash, tokens, config.seed)
    stream = [tuple(row[:-1]) for row in windows.read(order.at(np.arange(reach))).tolist()]
    rows = config.global_batch_tokens // tokens
    taken = [stream[(step - 1) * rows : step * rows] for step in steps]
    return [min(found, key=stream.count) for found in taken]


def faulty(bad: list[tuple[int, ...]], factor: float = float("nan"), kill_at_call: int | None = None) -> type:
    """Return a next-token objective whose loss is multiplied where a batch holds a bad window."""

    class Faulty(NextToken):
        calls = 0

        def sums(self, model: nn.Module, batch: Tokens) -> dict[str, Tensor]:
            if torch.is_grad_enabled():
                Faulty.calls += 1
                if Faulty.calls == kill_at_call:
                    raise Killed
            (loss,) = super().sums(model, batch).values()
            held = {tuple(row) for row in batch.inputs.tolist()}
            return {self.name: loss * factor if held & set(bad) else loss}

    return Faulty


def stopped_in_validation(run: Run, batch: int) -> type:
    """Return a next-token objective that asks a run to stop at a batch of a validation, counted from 1 on."""

    class Stopping(NextToken):
        batches = 0

        def sums(self, model: nn.Module, batch_: Tokens) -> dict[str, Tensor]:
            if not torch.is_grad_enabled():
                Stopping.batches += 1
                if Stopping.batches == batch:
                    run.request_stop()
                    time.sleep(FILE_POLL_SECONDS)
            return super().sums(model, batch_)

    return Stopping
