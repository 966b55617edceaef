"""Model folders in Hugging Face's layout in which somebody has planted code."""

from __future__ import annotations

import json
from pathlib import Path

from tests.drills import hostile


def config_with_code_of_its_own(folder: Path, canary: Path) -> None:
    change_json(folder / "config.json", auto_map={"AutoConfig": "evil.Config", "AutoModel": "evil.Model"})
    for name in ("evil.py", "__init__.py", "conftest.py"):
        (folder / name).write_text(f"import os\nos.mkdir({str(canary)!r})\n")


def tokenizer_with_code_of_its_own(folder: Path, canary: Path) -> None:
    template = "{{ cycler.__init__.__globals__.os.mkdir('" + str(canary) + "') }}"
    auto_map = {"AutoTokenizer": ["evil.Tokenizer", None]}
    change_json(folder / "tokenizer_config.json", auto_map=auto_map, chat_template=template)
    (folder / "chat_template.jinja").write_text(template)
    (folder / "evil.py").write_text(f"import os\nos.mkdir({str(canary)!r})\n")


def pickles_beside_the_weights(folder: Path, canary: Path) -> None:
    for name in ("pytorch_model.bin", "optimizer.pt", "training_args.bin", "scheduler.pt", "rng_state.pth"):
        (folder / name).write_bytes(hostile.torch_file(canary))


def merges_and_vocabulary_that_are_pickles(folder: Path, canary: Path) -> None:
    for name in ("merges.txt", "vocab.json"):
        (folder / name).write_bytes(hostile.pickles(canary)["reduce, protocol 0"])


def index_that_names_a_pickle(folder: Path, canary: Path) -> None:
    weights_as_bin_alone(folder, canary)
    index = {"weight_map": {"wte.weight": "pytorch_model.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def weights_as_bin_alone(folder: Path, canary: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(hostile.torch_file(canary))


def weights_of_tensorflow_and_flax(folder: Path, canary: Path) -> None:
    (folder / "model.safetensors").unlink()
    for name in ("tf_model.h5", "flax_model.msgpack", "model.npz"):
        (folder / name).write_bytes(hostile.pickles(canary)["reduce, protocol 2"])


def tokenizer_that_is_a_pickle(folder: Path, canary: Path) -> None:
    (folder / "tokenizer.json").write_bytes(hostile.pickles(canary)["eval, protocol 4"])


def tokenizer_config_that_is_a_pickle(folder: Path, canary: Path) -> None:
    (folder / "tokenizer_config.json").write_bytes(hostile.pickles(canary)["reduce, protocol 0"])


def merges_that_are_code(folder: Path, canary: Path) -> None:
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    merges = [f"__import__('os').mkdir('{canary}') x", "!!python/name:os.mkdir y"]
    change_json(folder / "tokenizer.json", model={**model, "merges": merges})


def config_that_is_a_pickle(folder: Path, canary: Path) -> None:
    (folder / "config.json").write_bytes(hostile.pickles(canary)["reduce, protocol 2"])


HARMLESS = (
    config_with_code_of_its_own,
    tokenizer_with_code_of_its_own,
    pickles_beside_the_weights,
    merges_and_vocabulary_that_are_pickles,
)
REFUSED = (
    index_that_names_a_pickle,
    weights_as_bin_alone,
    weights_of_tensorflow_and_flax,
    tokenizer_that_is_a_pickle,
    tokenizer_config_that_is_a_pickle,
    merges_that_are_code,
    config_that_is_a_pickle,
)


def change_json(path: Path, **changes: object) -> None:
    """Give some keys of a JSON file other values."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
