"""What follows from a training configuration: all batch arithmetic, before anything is spent."""

from __future__ import annotations

from dataclasses import dataclass

from model.config import (
    FlopsFormula,
    GPTConfig,
    describe,
    flops_per_token,
    parameters,
    parameters_non_embedding,
)
from pipeline.errors import ConfigError
from pipeline.train.sampler import count_windows

FLOPS_FORMULA: FlopsFormula = "6N_matmul + 6LdT"
# A pass of this size is near the best on a CPU for small models: smaller ones pay for their calls.
MICRO_BATCH_TOKENS = 2048


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The numbers of one training job. `dataset_tokens` is None while the dataset is not there.

    `rows_per_rank` sequences a step fall to each process, in `micro_batches` passes of at most
    `micro_batch_sequences`.
    """

    steps: int
    tokens_per_step: int
    sequence_tokens: int
    sequences_per_step: int
    world_size: int
    rows_per_rank: int
    micro_batch_sequences: int
    micro_batches: int
    train_tokens: int
    warmup_tokens: int
    parameters: int
    parameters_non_embedding: int
    flops_per_token: int
    flops: int
    flops_formula: str
    dataset_tokens: int | None
    windows: int | None
    epochs: float | None
    config_hash: str
    data_hash: str | None


@dataclass(frozen=True, kw_only=True)
class Batches:
    """How one step's sequences are spread."""

    sequences: int
    rows_per_rank: int
    micro_batch_sequences: int
    micro_batches: int


def plan_batches(
    global_batch_tokens: int, sequence_tokens: int, micro_batch_sequences: int | None, world_size: int
) -> Batches:
    """Return how a step is spread over processes and passes; ConfigError if tokens are no whole sequences."""
    sequences, rest = divmod(global_batch_tokens, sequence_tokens)
    if rest or not sequences:
        nearest = max(round(global_batch_tokens / sequence_tokens), 1) * sequence_tokens
        raise ConfigError(
            f"global_batch_tokens ({global_batch_tokens:,}) must be a multiple of sequence_tokens"
            f" ({sequence_tokens:,}); the nearest is {nearest:,}"
        )
    rows = -(-sequences // world_size)
    wanted = micro_batch_sequences or max(MICRO_BATCH_TOKENS // sequence_tokens, 1)
    passes = -(-rows // wanted)
    # As many passes, but of even size: 9 rows by at most 8 are 5 + 4, not 8 + 1.
    return Batches(
        sequences=sequences,
        rows_per_rank=rows,
        micro_batch_sequences=-(-rows // passes),
        micro_batches=passes,
    )


def make_plan(
    *,
    model: GPTConfig,
    global_batch_tokens: int,
    train_tokens: int,
    sequence_tokens: int,
    warmup_tokens: int,
    micro_batch_sequences: int | None,
    world_size: int,
    dataset_tokens: int | None,
    config_hash: str,
    data_hash: str | None,
) -> Plan:
    """Return the plan of a training job."""
    batches = plan_batches(global_batch_tokens, sequence_tokens, micro_batch_sequences, world_size)
    steps = -(-train_tokens // global_batch_tokens)
    windows = None if dataset_tokens is None else count_windows(dataset_tokens, sequence_tokens)
    flops = flops_per_token(model, sequence_tokens, FLOPS_FORMULA)
    return Plan(
        steps=steps,
        tokens_per_step=global_batch_tokens,
        sequence_tokens=sequence_tokens,
        sequences_per_step=batches.sequences,
        world_size=world_size,
        rows_per_rank=batches.rows_per_rank,
        micro_batch_sequences=batches.micro_batch_sequences,
        micro_batches=batches.micro_batches,
        train_tokens=steps * global_batch_tokens,
        warmup_tokens=warmup_tokens,
        parameters=parameters(model),
        parameters_non_embedding=parameters_non_embedding(model),
        flops_per_token=flops,
        flops=flops * steps * global_batch_tokens,
        flops_formula=FLOPS_FORMULA,
        dataset_tokens=dataset_tokens,
        windows=windows,
        epochs=steps * batches.sequences / windows if windows else None,
        config_hash=config_hash,
        data_hash=data_hash,
    )


def tell(model: GPTConfig, plan: Plan) -> str:
    """Return the plan as lines for people."""
    repeats = "the dataset is not there yet" if plan.epochs is None else f"{plan.epochs:.2f} epochs"
    available = (
        ""
        if plan.dataset_tokens is None
        else f" of {plan.dataset_tokens:,} tokens in {plan.windows:,} windows"
    )
    last = plan.rows_per_rank - plan.micro_batch_sequences * (plan.micro_batches - 1)
    smaller = "" if last == plan.micro_batch_sequences else f", the last of {last}"
    lines = {
        "model": describe(model),
        "non-embedding": f"{plan.parameters_non_embedding:,} parameters",
        "steps": f"{plan.steps:,} of {plan.tokens_per_step:,} tokens: {plan.train_tokens:,} tokens",
        "data": f"{repeats}{available}",
        "tokens/parameter": f"{plan.train_tokens / plan.parameters:.2f}"
        f" ({plan.train_tokens / plan.parameters_non_embedding:.2f} per non-embedding parameter)",
        "step": f"{plan.sequences_per_step:,} sequences of {plan.sequence_tokens:,} tokens",
        "process": f"{plan.world_size} × {plan.rows_per_rank} sequences in {plan.micro_batches} passes of"
        f" {plan.micro_batch_sequences}{smaller}",
        "warm-up": f"{plan.warmup_tokens:,} tokens ({plan.warmup_tokens / plan.tokens_per_step:.1f} steps)",
        "compute": f"{plan.flops:.3e} FLOPs ({plan.flops_per_token:,} a token by {plan.flops_formula})",
        "identity": f"{plan.config_hash} on data {plan.data_hash or 'unknown'}",
    }
    return "\n".join(f"{name + ':':<18}{text}" for name, text in lines.items())
