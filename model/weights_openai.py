"""OpenAI's own releases: GPT-2's folders of a TensorFlow checkpoint, GPT-1's folder of numpy arrays.

    GPT-2   hparams.json  model.ckpt.index  model.ckpt.data-00000-of-00001  encoder.json  vocab.bpe
    GPT-1   params_shapes.json  params_0.npy … params_9.npy  encoder_bpe_40000.json  vocab_40000.bpe

Their code: openai/gpt-2, src/model.py; openai/finetune-transformer-lm, train.py. Tensors are returned under
the names that Hugging Face and we share, with matrices as released: (in, out).
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.config import Architecture, GPTConfig, parameters
from model.tensorflow_bundle import Bundle

Arrays = dict[str, npt.NDArray[np.float32]]

GPT1_FILES = 10
GPT1_HEAD_WIDTH = 64  # 12 heads for 768, which no file states
GPT1_DROPOUT = 0.1  # released code; GPT-2's has none
GPT1_POSITION_STD = 0.02  # paper and released code: every weight is drawn alike

_SHAPES = "params_shapes.json"
_HYPERPARAMETERS = "hparams.json"
_GPT2_SHAPE = {
    "n_layer": "n_layer",
    "n_head": "n_head",
    "n_embd": "n_embd",
    "n_ctx": "n_ctx",
    "n_vocab": "vocab_size",
}
_PARTS = {"g": "weight", "w": "weight", "b": "bias"}
_BLOCK = (
    "attn.c_attn.weight", "attn.c_attn.bias", "attn.c_proj.weight", "attn.c_proj.bias",
    "ln_1.weight", "ln_1.bias",
    "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias",
    "ln_2.weight", "ln_2.bias",
)  # fmt: skip
"""The variables of GPT-1's blocks, in the order in which its code makes them."""

# The papers' names of the sizes, by their true number of parameters.
_LABELS = {
    116_534_784: "117M", 124_439_808: "117M", 354_823_168: "345M", 774_030_080: "762M", 1_557_611_200: "1542M"
}  # fmt: skip


def architecture_of(directory: Path) -> Architecture | None:
    """Return what a folder in OpenAI's layout holds; None if it is in another, or Hugging Face's as well."""
    if (directory / "config.json").is_file():
        return None
    if (directory / _HYPERPARAMETERS).is_file():
        return "gpt2"
    return "gpt1" if (directory / _SHAPES).is_file() else None


def weight_files(directory: Path) -> list[Path]:
    """Return the files of a folder that hold weights, sorted."""
    return sorted([*directory.glob("model.ckpt.data-*"), *directory.glob("params_[0-9]*.npy")])


def read_config(directory: Path) -> GPTConfig:
    """Return the shape of a released model; ValueError naming the file that is not as released."""
    gpt2 = architecture_of(directory) == "gpt2"
    path = directory / (_HYPERPARAMETERS if gpt2 else _SHAPES)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        shape = _gpt2_shape(content) if gpt2 else _gpt1_shape(content)
        return labelled(GPTConfig(**shape))
    except (ValueError, KeyError, TypeError, IndexError) as fault:
        raise ValueError(f"{path}: not what OpenAI released ({fault!r}); fetch it again") from fault


def labelled(config: GPTConfig) -> GPTConfig:
    """Return a shape with its paper's name, which is known by the number of parameters."""
    return replace(config, label=_LABELS.get(parameters(config), ""))


def read(directory: Path) -> tuple[GPTConfig, Arrays]:
    """Return the shape and the tensors of a released model.

    Raises FileNotFoundError for a file that is missing, ValueError naming one that is damaged.
    """
    config = read_config(directory)
    if config.architecture == "gpt2":
        return config, _gpt2_arrays(directory)
    return config, _gpt1_arrays(directory, config)


def _gpt2_shape(content: Any) -> dict[str, Any]:
    return {"architecture": "gpt2", **{ours: int(content[theirs]) for theirs, ours in _GPT2_SHAPE.items()}}


def _gpt1_shape(content: Any) -> dict[str, Any]:
    (n_ctx, n_embd), (vocab_size, _), *blocks = content
    n_layer = len(blocks) // len(_BLOCK)
    if content != [[n_ctx, n_embd], [vocab_size, n_embd], *_gpt1_block_shapes(n_embd) * n_layer]:
        raise ValueError("its shapes are not those of GPT-1's variables, in their order")
    return {
        "architecture": "gpt1",
        "n_layer": n_layer,
        "n_head": n_embd // GPT1_HEAD_WIDTH,
        "n_embd": n_embd,
        "n_ctx": n_ctx,
        "vocab_size": vocab_size,
        "dropout": GPT1_DROPOUT,
        "position_std": GPT1_POSITION_STD,
    }


def _gpt1_block_shapes(d: int) -> list[list[int]]:
    attention = [[1, d, 3 * d], [3 * d], [1, d, d], [d], [d], [d]]
    return [*attention, [1, d, 4 * d], [4 * d], [1, 4 * d, d], [d], [d], [d]]


def _gpt2_arrays(directory: Path) -> Arrays:
    bundle = Bundle(directory / "model.ckpt")
    # Copies fine-tuned with this code hold counters beside `model/`.
    names = [name for name in bundle.names() if name.startswith("model/")]
    return {_gpt2_name(name): _matrix(bundle.tensor(name)) for name in names}


def _gpt2_name(name: str) -> str:
    """Return our name of `model/h0/attn/c_attn/w` or `model/wte`."""
    *path, last = name.split("/")[1:]
    inside = ".".join([*path, _PARTS[last]]) if last in _PARTS else ".".join([*path, last, "weight"])
    return re.sub(r"^h(\d+)\.", r"h.\1.", inside)


def _gpt1_arrays(directory: Path, config: GPTConfig) -> Arrays:
    """Return GPT-1's variables: one after another they are cut, without regard to borders, into ten files."""
    d = config.n_embd
    shapes = [(config.n_ctx, d), (config.vocab_size, d), *map(tuple, _gpt1_block_shapes(d) * config.n_layer)]
    names = [
        "wpe.weight", "wte.weight",
        *(f"h.{layer}.{name}" for layer in range(config.n_layer) for name in _BLOCK),
    ]  # fmt: skip
    sizes = [math.prod(shape) for shape in shapes]
    flat = np.concatenate([_array(directory / f"params_{number}.npy") for number in range(GPT1_FILES)])
    if len(flat) != sum(sizes):
        raise ValueError(
            f"{directory}: params_0.npy to params_{GPT1_FILES - 1}.npy hold {len(flat):,} numbers, but "
            f"{_SHAPES} describes {sum(sizes):,}; fetch them again"
        )
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    return {
        name: _matrix(part.reshape(shape)) for name, part, shape in zip(names, parts, shapes, strict=True)
    }


def _array(path: Path) -> npt.NDArray[np.float32]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; GPT-1's weights are params_0.npy to params_9.npy")
    try:
        found: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as fault:
        raise ValueError(f"{path}: not a whole .npy file ({fault}); fetch it again") from None
    if not isinstance(found, np.ndarray):  # numpy opens an archive, whatever its name
        raise ValueError(f"{path}: an archive, not a .npy file; fetch it again")
    if found.dtype != np.float32 or found.ndim != 1:
        raise ValueError(f"{path}: {found.dtype} of shape {found.shape}, but a row of float32 is expected")
    return found


def _matrix(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return an array without the width of 1 that matrices have, being convolutions in OpenAI's code."""
    return array[0] if array.ndim == 3 else array
