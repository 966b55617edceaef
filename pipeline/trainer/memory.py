"""What one process holds in memory at the peak of a training step, item by item, by formula.

Letters: n = B·T positions of a pass, d = n_embd, H = n_head, L = n_layer, V = vocab_size, e = 4 bytes in fp32
and 2 in bf16, where products run under autocast while the stream between blocks stays fp32.

Autograd keeps of one block, for its backward pass, in bytes (`block_activations`):

    layer norms    2 · (4·n·d + 8·n)     each norm's input, in fp32, with its mean and deviation a row
    products       3 · e·n·d + 4·e·n·d   what is multiplied by c_attn, attn.c_proj, mlp.c_fc; by mlp.c_proj
    attention      3 · e·n·d + 4·n·H     queries, keys and values; the scores' log-sums; the values gathered
                                         are what attn.c_proj multiplies, counted there. No T x T matrix
      with a dense mask                  + e·B·T²: the mask as numbers, which every layer makes anew
      with dropout on a CPU              4 · 3·n·d + 4 · 3·B·H·T² instead: no fused kernel drops out there; q,
                                         k, v and the scores before, in and after dropout, all in fp32
    GELU           4·e·n·d               its input
    dropout        2 · e·n·d             the two masks of what is added to the stream; 1 byte each on a GPU

which is 64·n·d in fp32 and 36·n·d in bf16, and little else. With activation checkpointing a block keeps its
input, 4·n·d, and all of the above for the one block whose backward pass runs. A compiled block keeps no more
than an eager one, so that this is an upper bound for it.

The head (model/heads.py) never holds the logits of all positions: see `head`. The peak is the largest of a
few moments of a step, since activations go while gradients come: see `moments`; or, where a model is made
whole before it is spread, the making.

On a CPU there is the process itself beside the tensors, and what the C library's heap holds without need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from model.config import GPTConfig, parameters_of_block

Moment = Literal["head forward", "head backward", "last block", "first block", "embedding", "update"]
MOMENTS: tuple[Moment, ...] = (
    "head forward",
    "head backward",
    "last block",
    "first block",
    "embedding",
    "update",
)

FP32, BF16, INT64, BOOL = 4, 2, 8, 1

# Of what comes and goes in a step, glibc's heap holds about a third more: places of freed tensors, each too
# small by a few bytes for another one of its size (pipeline/trainer/hardware.py). How many there are is no
# derivation: 0.24 to 0.49 were measured at 17M and 50M parameters, 0.34 and 0.49 in the same run twice.
HEAP_SHARE = 3

# As pipeline/trainer/hardware.py sets it: smaller tensors are the heap's, which keeps their place for the
# next step; larger ones are mapped, and given back when they go.
MAPPED_FROM_BYTES, MAPPED_FROM_BYTES_THRIFTY = 32 * 2**20, 2**20


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One forward and backward pass of one process over `sequences` windows of `sequence_tokens`.

    `accumulates` says that earlier passes of the step have left gradients; `documents` that attention stays
    inside them; `checkpointing` that blocks are computed again in the backward pass.
    """

    model: GPTConfig
    sequences: int
    sequence_tokens: int
    precision: str = "fp32"
    device: Literal["cpu", "cuda"] = "cuda"
    documents: bool = False
    checkpointing: bool = False
    accumulates: bool = False

    @property
    def positions(self) -> int:
        """Return n, the positions of the pass."""
        return self.sequences * self.sequence_tokens

    @property
    def element(self) -> int:
        """Return e, the bytes of a number in products."""
        return BF16 if self.precision == "bf16" else FP32

    @property
    def stream(self) -> int:
        """Return the bytes of the stream between blocks, 4·n·d."""
        return FP32 * self.positions * self.model.n_embd

    @property
    def dense_mask(self) -> bool:
        """Return whether documents are masked by a matrix of T x T; without dropout GPUs mask by blocks."""
        return self.documents and (self.device == "cpu" or self.model.dropout > 0)

    @property
    def narrow_head(self) -> bool:
        """Return whether the head is a kernel of ours, where a compiler for it is (model/kernels)."""
        return self.precision == "fp32" and self.device == "cpu" and self.model.n_embd <= NARROW

    @property
    def fused(self) -> bool:
        """Return whether a block is one operator, where a compiler for its kernels is (model/fused.py)."""
        plain = self.precision == "fp32" and not self.documents and self.model.dropout == 0
        network = self.model.architecture == "gpt2" and self.model.causal
        return plain and network and self.device == "cpu"


@dataclass(frozen=True, kw_only=True)
class Held:
    """What an engine makes a process hold, in bytes: always, and at each moment of a step.

    `buffers` are there always, `flat` are gradients and buffers in one piece that come and go. `making` comes
    to weights and buffers while the engine is made, of what is whole before it is spread. `host` is in the
    CPU's memory while the device is a GPU. On a CPU `process` is what there is without any tensor, and a
    `thrifty` one keeps small freed tensors alone.
    """

    weights: int
    optimizer: int
    buffers: int = 0
    making: int = 0
    host: int = 0
    process: int = 0
    thrifty: bool = False
    gradients: Mapping[Moment, int]
    copies: Mapping[Moment, int]
    flat: Mapping[Moment, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Memory:
    """The bytes of one process at its peak, by item, and when that is; `host_bytes` are beside a GPU."""

    moment: Moment | Literal["making", "checkpoint"]
    items: Mapping[str, int]
    host_bytes: int = 0

    @property
    def total(self) -> int:
        """Return the peak."""
        return sum(self.items.values())

    @property
    def tensors(self) -> int:
        """Return the part of it that is tensors."""
        return self.total - sum(self.items.get(name, 0) for name in ("process", "allocator", "kernel"))


def peak_memory(run: Pass, held: Held) -> Memory:
    """Return the moment of a step at which a process holds most, itemised."""
    return max(at_each_moment(run, held), key=lambda memory: memory.total)


def at_each_moment(run: Pass, held: Held) -> list[Memory]:
    """Return what a process holds while its engine is made and at each moment of a step, itemised."""
    working, on_cpu = moments(run), run.device == "cpu"
    process = {"process": held.process} if on_cpu else {}
    making = {**process, "weights": held.weights, "buffers": held.buffers, "making": held.making}
    found = [Memory("making", making)]
    for moment in MOMENTS:
        coming = {"copies": held.copies[moment], "gradients": held.gradients[moment], **working[moment]}
        buffers = held.buffers + held.flat.get(moment, 0)
        there = {"weights": held.weights, "optimizer": held.optimizer, "buffers": buffers}
        items = {**process, **there, **coming}
        if on_cpu:
            items["allocator"] = beyond(run, held, sum(coming.values()))
        found.append(Memory(moment, items, held.host))
    return found


def beyond(run: Pass, held: Held, coming: int) -> int:
    """Return what a CPU's heap holds beyond what comes: the place of what has gone, and holes."""
    if held.thrifty:
        return kept_by_heap(run, MAPPED_FROM_BYTES_THRIFTY) // HEAP_SHARE
    heap = max(coming, kept_by_heap(run, MAPPED_FROM_BYTES) + max(held.copies.values()))
    return heap - coming + heap // HEAP_SHARE


def kept_by_heap(run: Pass, mapped_from: int) -> int:
    """Return the bytes of what a forward pass makes whose place glibc's heap keeps when it is gone.

    What an engine then lays out flat is mapped beside it, so that the backward pass or the update can be the
    peak.
    """
    n, d, e = run.positions, run.model.n_embd, run.element
    block = [FP32 * n * d] * 2 + [e * n * d] * 3 + [3 * e * n * d] + [4 * e * n * d] * 2  # the table's
    if run.model.dropout:
        squares = FP32 * run.sequences * run.sequence_tokens**2 * run.model.n_head
        block += [FP32 * n * d] * 3 + [squares] * 3 + [e * n * d] * 2
    head_forward = [FP32 * head_weights(run.model), chunk_bytes(run), kernel_room(run)]

    def small(*sizes: int) -> int:
        return sum(size for size in sizes if size < mapped_from)

    layers = run.model.n_layer
    blocks = small(*block) + layers * small(run.stream) if run.checkpointing else layers * small(*block)
    return blocks + small(*head_forward, e * n * d, run.stream, outside_blocks(run))


def moments(run: Pass) -> dict[Moment, dict[str, int]]:
    """Return the activations, the head's part and the temporary bytes at each moment of a step.

    Between the moments named, what is held grows or falls evenly, block by block, so that one of them is the
    peak: the head going forwards and backwards, when all activations are there; the backward pass of the last
    block, with the gradient of the head; that of the first block, when all other gradients are there; the
    embedding, whose gradient is a matrix beside the tied head's, and their sum a third; the update.
    """
    all_blocks = run.model.n_layer * kept_per_block(run)
    last = all_blocks + recomputed(run)
    first = kept_per_block(run) + recomputed(run)
    around = outside_blocks(run)
    hidden, matrix = run.element * run.positions * run.model.n_embd, FP32 * head_weights(run.model)
    forward, backward = head(run)

    def parts(activations: int, logits: int, temporary: int, kernel: int = 0) -> dict[str, int]:
        return {"activations": activations, "logits": logits, "temporary": temporary, "kernel": kernel}

    return {
        "head forward": parts(around + all_blocks, hidden + matrix, forward, kernel_room(run)),
        "head backward": parts(around + all_blocks, hidden + matrix, backward),
        "last block": parts(around + last, matrix, block_backward(run)),
        "first block": parts(around + first, matrix, block_backward(run)),
        "embedding": parts(around, matrix, run.stream + 2 * matrix),
        "update": parts(0, 0, 0),
    }


def kept_per_block(run: Pass) -> int:
    """Return the bytes that each block keeps until its backward pass."""
    return run.stream if run.checkpointing else block_activations(run)


def recomputed(run: Pass) -> int:
    """Return the bytes that the one block computed again holds beyond what it kept."""
    return block_activations(run) if run.checkpointing else 0


def block_activations(run: Pass) -> int:
    """Return the bytes that autograd keeps of one block; the table at the top."""
    n, d, e = run.positions, run.model.n_embd, run.element
    norms = 2 * (FP32 * n * d + 2 * FP32 * n)
    products = 7 * e * n * d
    gelu = 4 * e * n * d
    return norms + products + gelu + _attention(run) + 2 * _dropout(run, n * d)


def _attention(run: Pass) -> int:
    n, d, e = run.positions, run.model.n_embd, run.element
    squares = run.sequences * run.sequence_tokens**2
    if run.model.dropout and run.device == "cpu":
        return 3 * FP32 * n * d + 3 * FP32 * squares * run.model.n_head
    mask = e * squares if run.dense_mask else 0
    return 3 * e * n * d + FP32 * n * run.model.n_head + mask


def _dropout(run: Pass, elements: int, element: int | None = None) -> int:
    """Return the bytes of a dropout's mask: booleans on a GPU, factors of the input's kind on a CPU."""
    if not run.model.dropout:
        return 0
    return elements * (BOOL if run.device == "cuda" else element or run.element)


def outside_blocks(run: Pass) -> int:
    """Return the bytes kept outside the blocks: ids, the embedding's dropout, the final norm, the mask."""
    n, d, model = run.positions, run.model.n_embd, run.model
    ids = (3 if run.documents else 2) * INT64 * n
    mask = BOOL * run.sequences * run.sequence_tokens**2 if run.dense_mask else 0
    if model.architecture == "gpt1":
        return ids + mask + _dropout(run, (model.vocab_size + model.n_ctx) * d, FP32)
    return ids + mask + _dropout(run, n * d, FP32) + run.stream + 2 * FP32 * n


def block_backward(run: Pass) -> int:
    """Return the temporary bytes of a block's backward pass, at its widest: the GELU.

    There are the gradient of the stream, in fp32 and as a product takes it, and those of the GELU's output
    and input; the output itself has just gone. A block that is one operator gives back all at once: at its
    end there are the gradients of the stream after, in and before it, of queries, keys and values, and of its
    parameters, beside everything it kept.
    """
    n, d, e = run.positions, run.model.n_embd, run.element
    if run.fused:
        return 6 * run.stream + FP32 * parameters_of_block(run.model)
    narrow = e * n * d if e < FP32 else 0
    return run.stream + narrow + 4 * e * n * d


def head_weights(model: GPTConfig) -> int:
    """Return the entries of the output matrix, V·d."""
    return model.vocab_size * model.n_embd


def head(run: Pass) -> tuple[int, int]:
    """Return the temporary bytes of the head going forwards and backwards (model/heads.py).

    Forwards there are its input in fp32 and as products take it, a copy of the matrix where there must be
    one, the logits of a chunk of positions, and in bf16 the product that is added to the matrix' gradient or,
    on a CPU, the chunk in fp32. Kept are the gradients of the two factors, which the backward pass scales
    where they are; then comes the gradient of the stream.
    """
    n, d, e = run.positions, run.model.n_embd, run.element
    weights = head_weights(run.model)
    forward, backward = run.stream + chunk_bytes(run), run.stream
    if run.precision == "bf16":
        wide_chunk = FP32 * chunk_rows(run) * run.model.vocab_size if run.device == "cpu" else 0
        forward += e * n * d + max(e * weights, wide_chunk)
        backward += run.stream
    if run.precision == "bf16" or run.device == "cuda":
        forward += e * weights
    if run.model.architecture == "gpt1" and run.model.dropout:
        forward += FP32 * (weights + run.model.n_ctx * d)  # the matrices with their entries dropped out
    return forward, backward


# As model/heads.py has them, which cannot be loaded without torch.
CHUNK_BYTES: MappingProxyType[str, int] = MappingProxyType({"cpu": 1 << 20, "cuda": 1 << 28})
CHUNK_ROWS_LEAST = 64
NARROW = 384

# As model/kernels has them: rows of a chunk, for up to three threads, and floats of a vector.
KERNEL_ROWS, LANES = 96, 16


def kernel_room(run: Pass) -> int:
    """Return the bytes that the kernel of narrow heads takes beside all tensors: the logits of a chunk, and
    where rows of the matrix end within a vector, wider ones of it and of its gradient.
    """
    if not run.narrow_head:
        return 0
    width = -(-run.model.n_embd // LANES) * LANES
    wider = 0 if width == run.model.n_embd else 2 * width
    return FP32 * run.model.vocab_size * (KERNEL_ROWS + wider)


def chunk_bytes(run: Pass) -> int:
    """Return the bytes of the logits that are there at once as a tensor."""
    return 0 if run.narrow_head else run.element * chunk_rows(run) * run.model.vocab_size


def chunk_rows(run: Pass) -> int:
    """Return how many positions' logits are there at once, as model/heads.py chooses it."""
    in_cache = CHUNK_BYTES[run.device] // (run.model.vocab_size * run.element)
    return min(max(in_cache, run.model.n_embd, CHUNK_ROWS_LEAST), run.positions)
