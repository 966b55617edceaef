"""The engine-neutral training state: what any engine at any world size can go on from.

    state/index.json                          format, optimizer steps, and the file of each tensor
    state/tensors-00000-of-00002.safetensors  one shard per writing process

Tensors are named KIND/PARAMETER: `weight/…` (fp32), `exp_avg/…`, `exp_avg_sq/…`, in full shape whatever the
sharding was; and `rng/RANK/DEVICE`, the generators of each process, which are taken over only where the world
size is the same.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from model.config import GPTConfig
from model.tokenizer import Tokenizer
from model.weights import METADATA, WEIGHTS, published, save_description
from pipeline.errors import FormatError
from pipeline.formats.checkpoint import settle, write_summed
from pipeline.formats.publish import read_format
from pipeline.formats.typed import Below, typed
from pipeline.trainer.optim import MOMENTS

FORMAT = 1
INDEX = "index.json"
WEIGHT = "weight"
KINDS = (WEIGHT, *MOMENTS)
PIECE_BYTES = 2**19
"""What is copied at once: little enough for a core's own cache, where it is hashed too."""

Writing = Generator[None, None, dict[Path, str]]
"""Writes files, stopping after each block, and returns their sums."""

_REMEDY = "go on from another checkpoint"

# The names that the safetensors format has for types.
_DTYPES = {
    torch.float32: "F32",
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


class Snapshot:
    """Tensors as they are now, for a thread to read while training goes on.

    What is added as `live` stays where it is: only updates change weights and moments, and whoever is about
    to make one calls `freeze` before, which copies what is still unread. Of the rest copies are kept.
    """

    def __init__(self, tensors: Mapping[str, Tensor] | None = None):
        self._tensors = dict(tensors or {})
        self._live: set[str] = set()
        self._reading = threading.Lock()

    def add(self, name: str, tensor: Tensor, live: bool = False) -> None:
        """Add a tensor; from a GPU always a copy of it."""
        if live and not tensor.is_cuda:
            self._live.add(name)
            self._tensors[name] = tensor.detach()
        else:
            self._tensors |= staged({name: tensor})

    def names(self, kind: str) -> list[str]:
        """Return the parameters of which there is a tensor of a kind."""
        return [name.removeprefix(f"{kind}/") for name in self._tensors if name.startswith(f"{kind}/")]

    def freeze(self) -> None:
        """Let nothing be live any longer."""
        with self._reading:
            self._tensors |= staged({name: self._tensors[name] for name in self._live & self._tensors.keys()})
            self._live.clear()

    def keep(self, names: Collection[str]) -> None:
        """Forget all others."""
        with self._reading:
            self._tensors = {name: self._tensors[name] for name in names}

    def safetensors(
        self,
        parts: Mapping[str, tuple[str, bool]],
        metadata: Mapping[str, str] | None = None,
        forget: bool = False,
    ) -> Iterator[bytes | memoryview]:
        """Yield a file piece by piece: length of the header, header, then each tensor's bytes.

        `parts` are the tensors by their names in the file, each either as it is or turned. With `forget`
        those read are let go.
        """
        # Wide types first, so that every tensor is aligned to its own width.
        names = sorted(parts, key=lambda name: (-self._tensors[parts[name][0]].element_size(), name))
        header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
        end = 0
        for name in names:
            tensor = self._view(*parts[name])
            begin, end = end, end + tensor.nbytes
            found = {
                "dtype": _DTYPES[tensor.dtype],
                "shape": list(tensor.shape),
                "data_offsets": [begin, end],
            }
            header[name] = found
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        yield len(text).to_bytes(8, "little") + text
        for name in names:
            yield from self._pieces(*parts[name])
            if forget:
                with self._reading:
                    del self._tensors[parts[name][0]]

    def _pieces(self, name: str, turned: bool) -> Iterator[memoryview]:
        """Yield a tensor's bytes, of a live one copies; a turned one is copied at once, which is faster."""
        if turned:
            with self._reading:
                copied = _bytes(self._view(name, turned).clone(memory_format=torch.contiguous_format))
            yield copied.data
            return
        for begin in range(0, self._tensors[name].nbytes, PIECE_BYTES):
            with self._reading:
                piece = _bytes(self._tensors[name])[begin : begin + PIECE_BYTES]
                if name in self._live:
                    piece = piece.copy()
            yield piece.data

    def _view(self, name: str, turned: bool) -> Tensor:
        tensor = self._tensors[name]
        return tensor.t() if turned else tensor


def _bytes(tensor: Tensor) -> np.ndarray:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy()


def write(
    directory: Path,
    snapshot: Snapshot,
    index: Index,
    rank: int,
    write_model: Callable[[Snapshot], Writing] | None,
) -> Writing:
    """Write one process's part of a state; the first one writes the model before it, if asked to."""
    sums: dict[Path, str] = {}
    file = file_of(rank, index.world_size)
    mine = [name for name, holder in index.tensors.items() if holder == file]
    directory.mkdir(parents=True, exist_ok=True)
    if rank == 0:
        if write_model:
            sums |= yield from write_model(snapshot)
        (directory / INDEX).write_text(json.dumps(asdict(index), indent=1))
        sums[directory / INDEX] = settle(directory / INDEX)
    snapshot.keep(mine)
    sums[directory / file] = yield from write_shard(directory / file, snapshot, mine)
    return sums


def write_shard(path: Path, snapshot: Snapshot, names: Iterable[str]) -> Generator[None, None, str]:
    """Write tensors as safetensors, and return the file's sum."""
    parts = {name: (name, False) for name in names}
    return (yield from write_summed(path, snapshot.safetensors(parts, forget=True)))


def write_model(
    directory: Path, snapshot: Snapshot, config: GPTConfig, tokenizer: Tokenizer | None, prefix: str = ""
) -> Writing:
    """Write the weights of a snapshot, those of a network within another by their names' `prefix`, as the
    folder that `model.weights.save_model` writes.
    """
    save_description(directory, config, tokenizer)
    sums = {path: settle(path) for path in sorted(directory.rglob("*")) if path.is_file()}
    parts = {}
    for parameter in snapshot.names(WEIGHT):
        if parameter.startswith(prefix):
            name, turned = published(parameter.removeprefix(prefix), config.architecture)
            parts[name] = (f"{WEIGHT}/{parameter}", turned)
    pieces = snapshot.safetensors(parts, METADATA)
    sums[directory / WEIGHTS] = yield from write_summed(directory / WEIGHTS, pieces)
    return sums


@dataclass(frozen=True)
class Index:
    """What a state holds: optimizer steps, and in which file each tensor is."""

    format: int
    optimizer_steps: int
    world_size: int
    tensors: dict[str, Below]


def index_of(optimizer_steps: int, sizes: Mapping[str, int], rng: list[list[str]]) -> Index:
    """Return the index of parameters of such sizes; `rng` names the generators of each process."""
    owner = owners(sizes, len(rng))
    files = {
        f"{kind}/{name}": file_of(rank, len(rng)) for name, rank in sorted(owner.items()) for kind in KINDS
    }
    files |= {name: file_of(rank, len(rng)) for rank, names in enumerate(rng) for name in names}
    return Index(FORMAT, optimizer_steps, len(rng), files)


def is_wanted(index: Index, name: str, rank: int, model: bool) -> bool:
    """Tell whether a process writes a tensor; if the model is written, the first one has all weights."""
    return index.tensors[name] == file_of(rank, index.world_size) or (
        model and rank == 0 and name.startswith(f"{WEIGHT}/")
    )


class State:
    """A written state, its tensors read one by one as they are asked for."""

    def __init__(self, directory: Path):
        self._directory = directory
        values = read_format(directory / INDEX, FORMAT, _REMEDY)
        index = typed(Index, values, directory / INDEX, _REMEDY)
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
