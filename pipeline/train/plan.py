"""What follows from a training configuration: all batch arithmetic, before anything is spent."""

from __future__ import annotations

from dataclasses import dataclass

from model.config import GPTConfig, flops_per_token, parameters, parameters_non_embedding
from pipeline.errors import ConfigError
from pipeline.train.estimate import FLOPS_FORMULA
from pipeline.train.init import Parent
from pipeline.train.sampler import count_windows

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
    parent: Parent | None = None


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
