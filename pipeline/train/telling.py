"""A plan as lines for people: batch arithmetic, compute, memory of one process, what would fit where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from model.config import GPTConfig, describe
from pipeline.train.estimate import (
    USABLE,
    Hardware,
    Need,
    engines_beside,
    flops_by_formula,
    name_of,
    speed,
)
from pipeline.train.plan import Plan
from pipeline.trainer.gpus import GB
from pipeline.trainer.memory import Memory

LABEL_WIDTH = 18
MANY_PROCESSES = 8  # what engines are compared at where the plan is for one process: a node of GPUs
LARGEST_COLUMN = 64
ITEMS = {
    "process": "the process itself: Python, PyTorch, the engine's libraries",
    "weights": "weights",
    "optimizer": "optimizer",
    "gradients": "gradients",
    "copies": "weights copied or gathered for products",
    "buffers": "communication buffers, gradients laid out flat",
    "activations": "activations",
    "logits": "gradients of the head's two factors",
    "temporary": "temporary: logits of a chunk, gradients on their way",
    "kernel": "logits of a chunk, in the head's own kernel",
    "allocator": "holes of the heap, and places it keeps",
    "making": "the whole model, before it is spread",
    "checkpoint": "copies for a checkpoint being written",
}


def tell(model: GPTConfig, plan: Plan) -> str:
    """Return the batch arithmetic of a plan."""
    repeats = "the dataset is not there yet" if plan.epochs is None else f"{plan.epochs:.2f} epochs"
    available = (
        ""
        if plan.dataset_tokens is None
        else f" of {plan.dataset_tokens:,} tokens in {plan.windows:,} windows"
    )
    last = plan.rows_per_rank - plan.micro_batch_sequences * (plan.micro_batches - 1)
    smaller = "" if last == plan.micro_batch_sequences else f", the last of {last}"
    return _lines(
        {
            "model": describe(model),
            "non-embedding": f"{plan.parameters_non_embedding:,} parameters",
            "steps": f"{plan.steps:,} of {plan.tokens_per_step:,} tokens: {plan.train_tokens:,} tokens",
            "data": f"{repeats}{available}",
            "tokens/parameter": f"{plan.train_tokens / plan.parameters:.2f}"
            f" ({plan.train_tokens / plan.parameters_non_embedding:.2f} per non-embedding parameter)",
            "step": f"{plan.sequences_per_step:,} sequences of {plan.sequence_tokens:,} tokens",
            "process": f"{plan.world_size} × {plan.rows_per_rank} sequences in {plan.micro_batches} passes of"
            f" {plan.micro_batch_sequences}{smaller}",
            "warm-up": f"{plan.warmup_tokens:,} tokens"
            f" ({plan.warmup_tokens / plan.tokens_per_step:.1f} steps)",
            **_compute(model, plan),
            "identity": f"{plan.config_hash} on data {plan.data_hash or 'unknown'}",
        }
    )


def tell_needs(plan: Plan, need: Need, engine: Any, hardware: Hardware) -> str:
    """Return time and price on the hardware, the memory of one process by item, and other engines' peaks."""
    limit = hardware.memory_bytes
    parts = [
        _time(plan, need, hardware),
        _memory(plan, need, engine, limit),
        _table(need, engine, limit),
    ]
    return "\n\n".join(part for part in parts if part)


def unit_of(size: int) -> tuple[int, str]:
    """Return the unit that sizes up to this one are told in."""
    return (GB, "GB") if size >= GB // 2 else (GB // 1000, "MB")


def itemised(memory: Memory, unit: tuple[int, str]) -> list[str]:
    """Return a line per item that is there."""
    return [
        f"  {memory.items[item] / unit[0]:8.2f} {unit[1]}  {label}"
        for item, label in ITEMS.items()
        if memory.items.get(item)
    ]


def _compute(model: GPTConfig, plan: Plan) -> dict[str, str]:
    """Return the FLOPs by every formula; the first is what `mfu` and hours go by."""
    formulas = flops_by_formula(model, plan.sequence_tokens)
    ordered = [plan.flops_formula, *(name for name in formulas if name != plan.flops_formula)]
    texts = [
        f"{formulas[name] * plan.train_tokens:.3e} FLOPs, {formulas[name]:,} a token by {name}"  # type: ignore[index]
        for name in ordered
    ]
    return {"compute": f"{texts[0]} (hours and mfu go by it)", "or": texts[1], "or also": texts[2]}


def _time(plan: Plan, need: Need, hardware: Hardware) -> str:
    found = speed(need.model, plan.sequence_tokens, plan.flops, need.precision, hardware)
    if found is None:
        return ""
    count = hardware.count or 1
    price = (
        "" if found.price is None else f", {found.price:,.2f} at {hardware.price_per_gpu_hour:g} an hour each"
    )
    return _lines(
        {
            "hardware": f"{count} × {found.peak}",
            "mfu": f"{found.mfu:.2f} ({found.mfu_from})",
            "speed": f"{found.tokens_per_second:,.0f} tokens/s,"
            f" {plan.tokens_per_step / found.tokens_per_second:.2f} s a step",
            "time": f"{found.hours:,.2f} hours, {found.hours * count:,.2f} GPU hours{price}",
        }
    )


def _memory(plan: Plan, need: Need, engine: Any, limit: int | None) -> str:
    memory = need.memory(engine, plan.micro_batch_sequences)
    where = "GPU" if need.device == "cuda" else "process on a CPU"
    unit = unit_of(memory.total)
    peak = f"  {memory.total / unit[0]:8.2f} {unit[1]}  peak, at the {memory.moment}"
    if limit is not None:
        fitting = need.largest(engine, limit * USABLE)
        verdict = "fits" if memory.total <= limit * USABLE else "does NOT fit"
        peak += (
            f": {verdict} in {limit * USABLE / GB:.1f} GB, {USABLE:.0%} of {limit / GB:g} GB\n"
            f"  {fitting:8,}     largest micro-batch, of a process's {need.rows:,} sequences"
        )
    host = [f"  {memory.host_bytes / unit[0]:8.2f} {unit[1]}  beside it in the CPU's memory"]
    title = (
        f"memory of one {where}: {name_of(engine)}, processes: {need.processes},"
        f" {plan.micro_batch_sequences} × {plan.sequence_tokens:,} tokens a pass, {need.precision}"
        " (GB = 10^9 bytes)"
    )
    return "\n".join([title, *itemised(memory, unit), peak, *(host if memory.host_bytes else [])])


def _table(need: Need, engine: Any, limit: int | None) -> str:
    """Return each engine's peak by micro-batch, in GB; what does not fit in brackets."""
    if need.processes == 1:
        sequences = -(-need.rows // MANY_PROCESSES)
        need = replace(need, processes=MANY_PROCESSES, rows=sequences)
    sizes = [size for size in (1, 2, 4, 8, 16, 32, LARGEST_COLUMN) if size <= need.rows]
    header = f"  {'engine':<28}" + "".join(f"{size:>9}" for size in sizes)
    totals = {
        name: [need.memory(other, size).total for size in sizes] for name, other in engines_beside(engine)
    }
    unit = unit_of(max(map(max, totals.values())))
    rows = []
    for name, other in engines_beside(engine):
        row = f"  {name:<28}" + "".join(_cell(total, unit[0], limit) for total in totals[name])
        rows.append(row + (f"{need.largest(other, limit * USABLE):>9,}" if limit else ""))
    title = f"peak in {unit[1]} by engine and sequences of a pass, processes: {need.processes}"
    if limit:
        title += f"; (brackets) do not fit {limit * USABLE / GB:.1f} GB"
        header += f"{'largest':>9}"
    return "\n".join([title, header, *rows])


def _cell(total: int, unit: int, limit: int | None) -> str:
    text = f"{total / unit:.1f}"
    return f"{text if limit is None or total <= limit * USABLE else f'({text})':>9}"


def _lines(texts: dict[str, str]) -> str:
    return "\n".join(f"{name + ':':<{LABEL_WIDTH}}{text}" for name, text in texts.items())


def listed(memory: Memory, count: int) -> Iterable[str]:
    """Return the largest items, for a message of one line."""
    largest = sorted(memory.items.items(), key=lambda item: -item[1])[:count]
    return [f"{ITEMS[name]} {size / GB:.2f} GB" for name, size in largest if size]
