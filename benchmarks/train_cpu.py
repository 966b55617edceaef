"""Whole training steps on a CPU, ours beside `transformers` and a plain PyTorch GPT, eager and compiled.

    python -m benchmarks.train_cpu [--shapes 124M,ladder] [--only plain,transformers] [--rounds N]
        [--threads N] [--clock wall|process] [--ours "ours compiled"] [--profile] [--out FILE.json]

All in fp32. Ours runs through the engine `single` and takes turns with one peer at a time, so that two
networks are in memory at most; a ratio of 1.25 says that ours trains 1.25 times as many tokens a second, and
is the median of the ratios of single rounds. FLOPs are `6N_matmul + 6LdT`; the matrix product that they are
compared with is measured in the same rounds. The ladder runs on one thread with the batch it trains with, by
the process's own clock; 124M on all threads, by the clock on the wall.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.training import budget
from benchmarks.training.contenders import FORMULA, PEERS, Task, agree, contender
from benchmarks.training.machine import machine
from benchmarks.training.shares import shares, table
from benchmarks.training.turns import PRODUCT, Clock, Product, ratio, take_turns
from model.config import GPTConfig, parameters_non_embedding
from pipeline.config import load
from pipeline.study.config import Config
from pipeline.trainer.hardware import keep_freed_memory

LEAST_SECONDS = 0.3
AGREEMENT = 1e-3


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A size, the batch and the threads it is trained with here, and what is asked of it."""

    config: GPTConfig
    sequences: int
    threads: int | None
    clock: Clock
    ours: str
    goal: float
    product_goal: float | None


def _small(**shape: int) -> Shape:
    """Return a size as studies train it: one thread, 4 sequences of 128 tokens a step."""
    config = GPTConfig(**shape, n_ctx=128, vocab_size=4096)
    return Shape(
        config=config, sequences=4, threads=1, clock="process", ours="ours", goal=1.25, product_goal=None
    )


def _ladder(study: str) -> dict[str, Shape]:
    """Return the sizes of a study by their names."""
    return {rung.name: _small(**rung.shape) for rung in load(Config, STUDIES / study).sizes}


STUDIES = Path(__file__).parents[1] / "configs" / "study"
LADDER = _ladder("quickstart.yaml") | _ladder("ladder.yaml")
WIDE = {f"w{width}": _small(n_layer=4, n_head=2, n_embd=width) for width in (128, 192)}
"""Further up than a study goes."""
GROUPS = {"ladder": LADDER, "wide": WIDE}
SHAPES = {
    # 8 sequences: what does not grow with the batch (optimizer, norm) is 4 % of a step of 2, so 1 % here.
    "124M": Shape(
        config=GPTConfig(n_layer=12, n_head=12, n_embd=768, n_ctx=256),
        sequences=8,
        threads=None,
        clock="wall",
        ours="ours",
        goal=1.0,
        product_goal=0.85,
    ),
    **LADDER,
    **WIDE,
}


def main() -> None:
    """Measure what was asked for, print a table and write it as JSON if asked."""
    chosen = arguments()
    keep_freed_memory()
    names = [name for wanted in chosen.shapes for name in GROUPS.get(wanted, (wanted,))]
    rows = [measure(name, SHAPES[name], chosen) for name in names]
    if chosen.out:
        found = {"machine": machine(), "flops_formula": FORMULA, "rows": rows}
        chosen.out.write_text(json.dumps(found, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""

    def names(text: str) -> list[str]:
        return text.split(",")

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shapes", type=names, default=list(SHAPES), help=f"ladder, wide, {', '.join(SHAPES)}"
    )
    parser.add_argument("--only", type=names, default=list(PEERS), help=f"peers: {', '.join(PEERS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sequences", type=int, help="batch instead of each shape's own")
    parser.add_argument("--threads", type=int, help="compute threads instead of each shape's own")
    parser.add_argument("--clock", choices=["wall", "process"], help="instead of each shape's own")
    parser.add_argument("--ours", choices=["ours", "ours compiled"], help="instead of each shape's own")
    parser.add_argument(
        "--profile", action="store_true", help="print where the time of our step goes, and floors"
    )
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def measure(name: str, shape: Shape, chosen: argparse.Namespace) -> dict[str, Any]:
    """Print and return one shape's row."""
    threads = chosen.threads or shape.threads
    if threads:
        torch.set_num_threads(threads)
    task = Task(config=shape.config, sequences=chosen.sequences or shape.sequences, threads=threads)
    row: dict[str, Any] = {
        "shape": name,
        "parameters_non_embedding": parameters_non_embedding(shape.config),
        "batch": [task.sequences, shape.config.n_ctx],
        "threads": torch.get_num_threads(),
        "clock": chosen.clock or shape.clock,
        "rounds": chosen.rounds,
        "ours": chosen.ours or shape.ours,
    }
    print(f"{name}: {row['parameters_non_embedding']:,} non-embedding parameters, batch {row['batch']}, "
          f"threads {row['threads']}, {row['clock']} clock, {row['ours']}", flush=True)  # fmt: skip
    ours = contender(row["ours"], task)
    first, product = ours(), Product()
    taken = {}
    for peer in chosen.only:
        # What was compiled for another size would make this one's code more general, and slower.
        torch.compiler.reset()
        step = contender(peer, task)
        agree({row["ours"]: first, peer: step()}, AGREEMENT)
        ours()
        work = {row["ours"]: ours, peer: step, PRODUCT: product}
        taken[peer] = take_turns(work, chosen.rounds, row["clock"], LEAST_SECONDS)
        print(f"    {ratio(taken[peer][peer], taken[peer][row['ours']]):6.2f} x {peer}", flush=True)
        del step, work
        gc.collect()
    row |= figures(task, row["ours"], product, taken)
    print(verdict(row, shape), flush=True)
    if chosen.profile:
        row["profile"] = shares(ours)
        print(table(row["profile"]), flush=True)
        row["budget"] = budget.budget(task, ours, chosen.rounds, row["clock"])
        print(budget.table(row["budget"]), flush=True)
    return row


def figures(
    task: Task, mine: str, product: Product, taken: Mapping[str, Mapping[str, list[float]]]
) -> dict[str, Any]:
    """Return ratios and speeds from the seconds of each peer's rounds."""
    ours = [seconds for pair in taken.values() for seconds in pair[mine]]
    products = [seconds for pair in taken.values() for seconds in pair[PRODUCT]]
    share = ratio(products, ours) * task.flops / product.flops
    speeds = {mine: ours} | {peer: pair[peer] for peer, pair in taken.items()}
    return {
        "tokens_per_second": {
            name: task.tokens / statistics.median(seconds) for name, seconds in speeds.items()
        },
        "ratio": {peer: ratio(pair[peer], pair[mine]) for peer, pair in taken.items()},
        "flops": task.flops / statistics.median(ours),
        "matrix_product": {"size": product.size, "flops": product.flops / statistics.median(products)},
        "flops_over_matrix_product": share,
    }


def verdict(row: Mapping[str, Any], shape: Shape) -> str:
    """Return a row's figures as lines for people, with what was asked for."""
    least = min(row["ratio"].values())
    share, size = row["flops_over_matrix_product"], row["matrix_product"]["size"]
    lines = [
        f"    {row['tokens_per_second'][row['ours']]:,.0f} tokens/s; {least:.2f} x the best of them,"
        f" goal {shape.goal:.2f}: {'met' if least >= shape.goal else 'MISSED'}",
        f"    {row['flops'] / 1e9:.0f} GFLOP/s ({FORMULA}), {share:.1%} of the {size}x{size} matrix product's"
        f" {row['matrix_product']['flops'] / 1e9:.0f}",
    ]
    if shape.product_goal:
        told = "met" if share >= shape.product_goal else "MISSED"
        # Nothing is faster than the product: another program had the processors while it was timed.
        told = told if share <= 1 else "NOT MEASURED, the machine was busy"
        lines[1] += f", goal {shape.product_goal:.0%}: {told}"
    return "\n".join(lines)


if __name__ == "__main__":
    main()
