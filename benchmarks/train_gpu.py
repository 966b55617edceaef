"""Whole training steps on one GPU, ours beside `transformers` and a plain compiled PyTorch GPT, in bf16.

    python -m benchmarks.train_gpu [--shapes 117M,345M,762M,1542M] [--engines single,ddp,fsdp2,deepspeed]
        [--only "plain compiled,transformers"] [--micro-batches 4,8,16] [--steps N] [--profile]
        [--device cpu] [--out FILE.json]

Every contender trains each size with T = 1,024 in a process of its own, one micro-batch a step, and takes the
one with which it is fastest: they are tried from small to large until memory or speed ends it. MFU is
`6N_matmul + 6LdT` over the GPU's peak by its data sheet. Without CUDA it says so and measures nothing;
`--device cpu --shapes tiny` tries the whole road where there is none.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from benchmarks.training.contenders import FORMULA, PEERS, Task, contender
from benchmarks.training.machine import machine
from benchmarks.training.shares import shares, table
from model.config import GPTConfig, flops_per_token
from pipeline.trainer.hardware import peak, peak_memory_bytes

SHAPES = {
    "117M": GPTConfig(n_layer=12, n_head=12, n_embd=768),
    "345M": GPTConfig(n_layer=24, n_head=16, n_embd=1024),
    "762M": GPTConfig(n_layer=36, n_head=20, n_embd=1280),
    "1542M": GPTConfig(n_layer=48, n_head=25, n_embd=1600),
    "tiny": GPTConfig(n_layer=2, n_head=2, n_embd=16, n_ctx=32, vocab_size=100),
}
ENGINES = ("single", "ddp", "fsdp2", "deepspeed")
MICRO_BATCHES = (2, 4, 8, 16, 32, 64, 128)
WARM_UP_STEPS = 3
PRECISION = "bf16"
NO_CUDA = "benchmarks.train_gpu measures GPUs, and torch sees none here: nothing was measured"


@dataclass(frozen=True, kw_only=True)
class Try:
    """What one contender is asked to try."""

    shape: str
    contender: str
    engine: str
    device: str
    micro_batches: tuple[int, ...]
    steps: int
    profile: bool = False

    @property
    def name(self) -> str:
        """Return the contender's name in the table."""
        return f"{self.contender} ({self.engine})" if self.contender.startswith("ours") else self.contender


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What one contender does with one micro-batch; `mfu` is None where the device's peak is not known."""

    shape: str
    contender: str
    micro_batch_sequences: int
    tokens_per_second: float
    mfu: float | None
    peak: str | None
    memory_bytes: int
    profile: dict[str, float] = field(default_factory=dict)


def main() -> None:
    """Measure what was asked for, print the table and write it as JSON if asked."""
    chosen = arguments()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print(NO_CUDA)
        return
    rows = []
    for asked in tries(chosen):
        best = alone(asked)
        print(line(asked, best), flush=True)
        if best is not None:
            rows.append(best)
            if best.profile:
                print(table(best.profile), flush=True)
    if chosen.out:
        found = {"machine": machine(), "flops_formula": FORMULA, "rows": [asdict(row) for row in rows]}
        chosen.out.write_text(json.dumps(found, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""

    def names(text: str) -> list[str]:
        return text.split(",")

    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    sizes = [name for name in SHAPES if name != "tiny"]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", type=names, default=sizes, help=", ".join(SHAPES))
    parser.add_argument("--engines", type=names, default=["single"], help=f"of ours: {', '.join(ENGINES)}")
    parser.add_argument("--ours", choices=["ours", "ours compiled"], default="ours compiled")
    parser.add_argument("--only", type=names, default=list(PEERS), help=f"peers: {', '.join(PEERS)}")
    parser.add_argument("--micro-batches", type=numbers, default=list(MICRO_BATCHES))
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--profile", action="store_true", help="print where the time of our step goes")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def tries(chosen: argparse.Namespace) -> Iterator[Try]:
    """Give ours by every engine, then the peers, size by size."""
    for shape in chosen.shapes:
        ours = [(chosen.ours, engine) for engine in chosen.engines]
        for name, engine in [*ours, *((peer, "") for peer in chosen.only if peer)]:
            yield Try(
                shape=shape,
                contender=name,
                engine=engine,
                device=chosen.device,
                micro_batches=tuple(sorted(chosen.micro_batches)),
                steps=chosen.steps,
                profile=chosen.profile and bool(engine),
            )


def alone(asked: Try) -> Speed | None:
    """Return the best of a contender in a process of its own: no memory, group or graph of another's."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(best, asked).result()


def best(asked: Try) -> Speed | None:
    """Return the fastest micro-batch's figures, None if not even the smallest fits."""
    found: Speed | None = None
    for size in asked.micro_batches:
        try:
            speed = measure(asked, size)
        except torch.OutOfMemoryError:
            break
        if found and speed.tokens_per_second < found.tokens_per_second:
            break
        found = speed
    return found


def measure(asked: Try, size: int) -> Speed:
    """Return the figures of steps of one micro-batch; raises OutOfMemoryError if it does not fit."""
    clear(asked.device)
    task = Task(config=SHAPES[asked.shape], sequences=size, precision=PRECISION, device=asked.device)
    step = contender(asked.contender, task, asked.engine)
    for _ in range(WARM_UP_STEPS):
        step()
    seconds = []
    for _ in range(asked.steps):
        start = time.perf_counter()
        step()  # waits for the device: it returns the loss
        seconds.append(time.perf_counter() - start)
    speed = task.tokens / statistics.median(seconds)
    device = torch.device(asked.device)
    against = peak(device, PRECISION)
    return Speed(
        shape=asked.shape,
        contender=asked.name,
        micro_batch_sequences=size,
        tokens_per_second=speed,
        mfu=mfu(task.config, speed, against.flops) if against else None,
        peak=against.name if against else None,
        memory_bytes=peak_memory_bytes(device),
        profile=shares(step) if asked.profile else {},
    )


def mfu(config: GPTConfig, tokens_per_second: float, peak_flops: float) -> float:
    """Return the share of a peak that a speed comes to, by FORMULA."""
    return tokens_per_second * flops_per_token(config, config.n_ctx, FORMULA) / peak_flops


def clear(device: str) -> None:
    """Forget the contender before, and the most memory it held."""
    torch.compiler.reset()
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def line(asked: Try, speed: Speed | None) -> str:
    """Return one row of the table."""
    names = f"{asked.shape:>6}  {asked.name:<24}"
    if speed is None:
        return f"{names}  out of memory with {min(asked.micro_batches)} sequences"
    share = "" if speed.mfu is None else f"{speed.mfu:6.1%} of {speed.peak}"
    return (
        f"{names} {speed.micro_batch_sequences:>4} sequences {speed.tokens_per_second:>11,.0f} tokens/s"
        f"  {speed.memory_bytes / 1e9:6.1f} GB  MFU {share}"
    )


if __name__ == "__main__":
    main()
