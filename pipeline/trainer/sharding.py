"""What each engine makes one process hold of weights, gradients and optimizer, by formula.

N parameters, P of them in a block, R outside the blocks, W processes; in bytes. All is fp32 but the copies
that products take, which are bf16 with that precision.

    engine          weights        moments   gradients   copies, buffers
    single          4·N            8·N       4·N         bf16: autocast's 2·N of the blocks
    ddp             4·N            8·N       4·N         the same; a bucket being summed
    fsdp2           4·N/S          8·N/S     4·N/S       4·R and two blocks gathered; a block being scattered
      no reshard                                         all blocks gathered
        accumulating                         4·N         scattered once a step, whole until then
    deepspeed 0     4·N            8·N       4·N         autocast's; gradients once more, flat, at the update
      1             4·N + 4·N/W    8·N/W     4·N         autocast's; a bucket and 4·N/W flat, then 8·N/W
      2             4·N + 4·N/W    8·N/W     none whole  the same; 4·N/W more where passes accumulate
      3             8·N/W          8·N/W     4·N/W       ≤ 10⁹ weights gathered; a bucket, thrice when full

While ddp's and single's models stay where they are made, fsdp2 and ZeRO hold the whole one, 4·N, beside their
first parts of it.

S = W / replicas. Offloaded parts are `host`: the CPU's memory, which on a CPU is the device's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from model.config import parameters, parameters_of_block
from pipeline.config import kind_name
from pipeline.trainer.memory import (
    BF16,
    FP32,
    MOMENTS,
    Held,
    Moment,
    Pass,
    head_weights,
)

DDP_BUCKET_BYTES = 32 * 2**20
# As pipeline/trainer/engines/deepspeed.py sets it, and as DeepSpeed's stage3_max_reuse_distance is unset.
ZERO_BUCKET_BYTES = FP32 * 50_000_000
ZERO_LIVE_WEIGHTS = 10**9

# What a process on a CPU holds without a tensor of ours. Python, PyTorch and what trains here are 235 MiB;
# kernels' code and threads bring 25 more with the first step. The rest is no derivation but what was left of
# resident memory on two processes, less tensors, at 1M and 17M parameters: the imports of sharded tensors or
# DeepSpeed (70, 150), buffers and heaps of gloo's threads. Linux on x86-64, torch 2.13, DeepSpeed 0.19.8.
PROCESS_BYTES: Mapping[str, int] = MappingProxyType(
    {
        "single": 265 * 2**20,
        "ddp": 265 * 2**20,
        "fsdp2": 375 * 2**20,
        "deepspeed": 435 * 2**20,
    }
)
# What recomputing blocks imports with the first of them, PyTorch's compiler, where nothing else has yet.
COMPILER_BYTES = 72 * 2**20


def held(engine: Any, run: Pass, processes: int) -> Held:
    """Return what a process of a job holds under an engine's configuration."""
    kind = kind_name(engine)
    found = HOLDINGS[kind](engine, run, processes)
    spread = kind == "fsdp2" or (kind == "deepspeed" and engine.zero_stage > 0)
    compiler = COMPILER_BYTES if run.checkpointing and kind in ("single", "ddp") else 0
    return replace(
        found,
        making=FP32 * parameters(run.model) if spread else 0,
        process=PROCESS_BYTES[kind] + compiler,
        thrifty=engine.thrifty,
    )


def single(_: Any, run: Pass, __: int = 1) -> Held:
    """Return what one process alone holds."""
    whole = FP32 * parameters(run.model)
    return Held(weights=whole, optimizer=2 * whole, gradients=arriving(run), copies=autocast_copies(run))


def ddp(_: Any, run: Pass, processes: int) -> Held:
    """Return what a process holds that has everything, and gathers gradients in buckets to sum them."""
    whole = FP32 * parameters(run.model)
    return Held(
        weights=whole,
        optimizer=2 * whole,
        buffers=min(DDP_BUCKET_BYTES, whole) if processes > 1 else 0,
        gradients=arriving(run),
        copies=autocast_copies(run),
    )


def fsdp2(engine: Any, run: Pass, processes: int) -> Held:
    """Return what a process holds of FSDP's shards, and of what is gathered for the moment."""
    shards = max(processes // engine.replicas, 1)
    share = -(-FP32 * parameters(run.model) // shards)
    gathered = run.element * parameters_of_block(run.model)
    rest = FP32 * (parameters(run.model) - run.model.n_layer * parameters_of_block(run.model))
    both = 2 * gathered if engine.reshard else run.model.n_layer * gathered
    copies: dict[Moment, int] = {
        "head forward": rest + both,
        "head backward": rest + both,
        "last block": rest + both,
        "first block": rest + gathered,
        "embedding": rest,
        "update": 0,
    }
    if run.accumulates and not engine.reshard:
        gradients = {**dict.fromkeys(MOMENTS, FP32 * parameters(run.model)), "update": share}
    else:
        gradients = {moment: -(-part // shards) for moment, part in arriving(run).items()}
    away = engine.offload and run.device == "cuda"
    return Held(
        weights=0 if away else share,
        optimizer=0 if away else 2 * share,
        buffers=FP32 * parameters_of_block(run.model),
        gradients={moment: 0 if away and engine.reshard else part for moment, part in gradients.items()},
        copies=copies,
        host=4 * share if away else 0,
    )


def deepspeed(engine: Any, run: Pass, processes: int) -> Held:
    """Return what a process holds under a stage of ZeRO."""
    if engine.zero_stage == 0:
        whole = FP32 * parameters(run.model)
        return replace(single(engine, run), flat={"update": whole})
    share = -(-FP32 * parameters(run.model) // processes)
    away = engine.offload and run.device == "cuda"
    overlapping = engine.zero_stage > 1 and run.device == "cuda" and engine.overlap_communication is not False
    bucket = min(FP32 * parameters(run.model), ZERO_BUCKET_BYTES) * (2 if overlapping else 1)
    if engine.zero_stage == 3:
        found = _sharded_weights(run, share, bucket)
    else:
        found = _sharded_optimizer(engine, run, share, bucket)
    if not engine.offload:
        return found
    # The gradients' part, weights on their way back, and one gradient on its way there; on both sides.
    largest = FP32 * head_weights(run.model)
    beside = 2 * share + largest
    if not away:
        return replace(found, buffers=found.buffers + beside)
    return replace(
        found,
        weights=found.weights - share,
        optimizer=0,
        buffers=found.buffers + largest,
        host=3 * share + beside,
    )


def _sharded_optimizer(engine: Any, run: Pass, share: int, bucket: int) -> Held:
    """Return what is held under ZeRO 1 and 2 without offload.

    A gradient is copied into a bucket when it comes (2) or when all are there (1), the bucket into this
    process's part when it is full, and the part into a second one for the update.
    """
    if engine.zero_stage == 1:
        gradients = {**arriving(run), "update": 0}
    else:
        gradients = dict.fromkeys(MOMENTS, share if run.accumulates else 0)
    return Held(
        weights=FP32 * parameters(run.model) + share,
        optimizer=2 * share,
        gradients=gradients,
        copies=autocast_copies(run),
        flat={
            "last block": bucket,
            "first block": bucket + share,
            "embedding": bucket + share,
            "update": 2 * share,
        },
    )


def _sharded_weights(run: Pass, share: int, bucket: int) -> Held:
    """Return what is held under ZeRO 3 without offload: a full bucket is copied twice to be scattered."""
    return Held(
        weights=2 * share,
        optimizer=2 * share,
        buffers=bucket,
        gradients=dict.fromkeys(MOMENTS, share),
        copies=gathered_whole(run),
        flat={"first block": 2 * bucket, "embedding": 2 * bucket, "update": share},
    )


HOLDINGS: Mapping[str, Callable[[Any, Pass, int], Held]] = MappingProxyType(
    {"single": single, "ddp": ddp, "fsdp2": fsdp2, "deepspeed": deepspeed}
)


def arriving(run: Pass) -> dict[Moment, int]:
    """Return the gradients at each moment where each parameter has its own.

    They come block by block, unless earlier passes have left them all; the tied matrix', on its way from the
    head to the embedding, counts as the head's.
    """
    whole, block = FP32 * parameters(run.model), FP32 * parameters_of_block(run.model)
    if run.accumulates:
        return dict.fromkeys(MOMENTS, whole)
    blocks = run.model.n_layer * block
    return {
        "head forward": 0,
        "head backward": 0,
        "last block": 0,
        "first block": blocks - block,
        "embedding": blocks,
        "update": whole,
    }


def autocast_copies(run: Pass) -> dict[Moment, int]:
    """Return the weights in bf16 that autocast makes for the blocks' products.

    Autograd keeps them until each block's backward pass; a block that is computed again makes its own anew.
    """
    if run.precision != "bf16":
        return dict.fromkeys(MOMENTS, 0)
    d, layers = run.model.n_embd, run.model.n_layer
    block = BF16 * (12 * d * d + 9 * d)
    kept = block if run.checkpointing else layers * block
    return {
        "head forward": layers * block,
        "head backward": 0 if run.checkpointing else kept,
        "last block": kept,
        "first block": block,
        "embedding": 0,
        "update": 0,
    }


def gathered_whole(run: Pass) -> dict[Moment, int]:
    """Return the weights that ZeRO 3 has gathered, in fp32, beside autocast's copies of them.

    By its own default it gives none back that are needed again within 10⁹ more.
    """
    block, copies = FP32 * parameters_of_block(run.model), autocast_copies(run)
    rest = FP32 * parameters(run.model) - run.model.n_layer * block
    live = max(min(run.model.n_layer * block, FP32 * ZERO_LIVE_WEIGHTS - rest), 2 * block)
    gathered = {"first block": rest + 2 * block, "embedding": rest, "update": 0}
    return {moment: gathered.get(moment, rest + live) + copies[moment] for moment in MOMENTS}
