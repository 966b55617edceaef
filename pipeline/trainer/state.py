"""The engine-neutral training state: what any engine at any world size can go on from.

    state/index.json                          format, optimizer steps, and the file of each tensor
    state/tensors-00000-of-00002.safetensors  one shard per writing process

Tensors are named KIND/PARAMETER: `weight/…` (fp32), `exp_avg/…`, `exp_avg_sq/…`, in full shape whatever the
sharding was; and `rng/RANK/DEVICE`, the generators of each process, which are taken over only where the world
size is the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pipeline.errors import FormatError
from pipeline.formats.checkpoint import write_summed
from pipeline.formats.publish import read_json
from pipeline.formats.typed import Below, typed
from pipeline.trainer.optim import MOMENTS

FORMAT = 1
INDEX = "index.json"
WEIGHT = "weight"
KINDS = (WEIGHT, *MOMENTS)
_REMEDY = "go on from another checkpoint"

# The names that the safetensors format has for types.
_DTYPES = {
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.uint8: "U8",
}


def owners(sizes: Mapping[str, int], world_size: int) -> dict[str, int]:
    """Return which process writes each parameter, the same on all: largest first, to the least burdened."""
    burden = [0] * world_size
    owner = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        owner[name] = burden.index(min(burden))
        burden[owner[name]] += sizes[name]
    return owner


def file_of(rank: int, world_size: int) -> str:
    """Return the name of the shard that a process writes."""
    return f"tensors-{rank:05d}-of-{world_size:05d}.safetensors"


def staged(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies on the CPU that share no memory with the originals, so that training may go on.

    From a GPU they go to pinned memory, all at once.
    """
    copies = {}
    for name, tensor in tensors.items():
        source = tensor.detach()
        pinned = source.is_cuda
        copy = torch.empty(source.shape, dtype=source.dtype, device="cpu", pin_memory=pinned)
        copies[name] = copy.copy_(source, non_blocking=pinned)
    if any(tensor.is_cuda for tensor in tensors.values()):
        torch.cuda.synchronize()
    return copies


def write_shard(directory: Path, rank: int, world_size: int, tensors: Mapping[str, Tensor]) -> None:
    """Write one process's part as safetensors; its sum, taken while writing, stays beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    write_summed(directory / file_of(rank, world_size), _safetensors(tensors))


def write_index(
    directory: Path, optimizer_steps: int, owner: Mapping[str, int], rng: list[list[str]]
) -> None:
    """Write where each tensor lies; `rng` names the generators of each process."""
    directory.mkdir(parents=True, exist_ok=True)
    world_size = len(rng)
    files = {
        f"{kind}/{name}": file_of(rank, world_size) for name, rank in sorted(owner.items()) for kind in KINDS
    }
    files |= {name: file_of(rank, world_size) for rank, names in enumerate(rng) for name in names}
    index = {"format": FORMAT, "optimizer_steps": optimizer_steps, "world_size": world_size, "tensors": files}
    (directory / INDEX).write_text(json.dumps(index, indent=1))


@dataclass(frozen=True)
class _Index:
    format: int
    optimizer_steps: int
    world_size: int
    tensors: dict[str, Below]


class State:
    """A written state, its tensors read one by one as they are asked for."""

    def __init__(self, directory: Path):
        self._directory = directory
        values = read_json(directory / INDEX)
        found = values.get("format") if isinstance(values, dict) else None
        if found != FORMAT:
            raise FormatError(f"{directory / INDEX}: format {found!r}, this version reads {FORMAT}")
        index = typed(_Index, values, directory / INDEX, _REMEDY)
        self.optimizer_steps, self.world_size = index.optimizer_steps, index.world_size
        self._files: dict[str, str] = index.tensors
        self._open: dict[str, Any] = {}

    def tensor(self, kind: str, parameter: str, shape: torch.Size) -> Tensor:
        """Return one tensor of a parameter; FormatError if it is missing or of another shape."""
        found = self._read(f"{kind}/{parameter}")
        if found.shape != shape:
            raise FormatError(
                f"{self._directory}: {kind}/{parameter} has shape {tuple(found.shape)},"
                f" the model's is {tuple(shape)}"
            )
        return found

    def check_names(self, parameters: Mapping[str, Any]) -> None:
        """Raise FormatError unless the state is of a model with exactly these parameters."""
        found = {name.partition("/")[2] for name in self._files if name.startswith(f"{WEIGHT}/")}
        if found != set(parameters):
            odd = sorted(found ^ set(parameters))
            raise FormatError(f"{self._directory}: is of another model; {odd[0]} is in one of the two alone")

    def restore_rng(self, rank: int, world_size: int) -> None:
        """Set this process's generators where the world size is the one that wrote."""
        if world_size != self.world_size:
            return
        torch.set_rng_state(self._read(_rng_name(rank, "cpu")))
        if torch.cuda.is_available() and _rng_name(rank, "cuda") in self._files:
            torch.cuda.set_rng_state(self._read(_rng_name(rank, "cuda")))

    def _read(self, name: str) -> Tensor:
        if name not in self._files:
            raise FormatError(f"{self._directory / INDEX}: no {name}")
        file = self._files[name]
        try:
            if file not in self._open:
                self._open[file] = safe_open(self._directory / file, framework="pt")
            tensor: Tensor = self._open[file].get_tensor(name)
        except (OSError, SafetensorError) as fault:
            raise FormatError(f"{self._directory / file}: {name}: {fault}; {_REMEDY}") from None
        return tensor


def rng_tensors(rank: int) -> dict[str, Tensor]:
    """Return the state of this process's generators."""
    found = {_rng_name(rank, "cpu"): torch.get_rng_state()}
    if torch.cuda.is_available():
        found[_rng_name(rank, "cuda")] = torch.cuda.get_rng_state()
    return found


def _rng_name(rank: int, device: str) -> str:
    return f"rng/{rank}/{device}"


def _safetensors(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """Yield a safetensors file piece by piece: length of the header, header, then each tensor's bytes."""
    header, end = {}, 0
    # Wide types first, so that every tensor is aligned to its own width.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    for name in names:
        tensor = tensors[name]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        flat = tensors[name].detach().contiguous().reshape(-1)
        yield flat.view(torch.uint8).numpy().data
