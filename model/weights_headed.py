"""A network with a head on disk: the network's own folder, with `head.safetensors` and `head.json` in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from model.finetuned import FineTuned
from model.transformer import GPT
from model.weights import load_model

HEAD_WEIGHTS, CONTENT = "head.safetensors", "head.json"
BODY, HEAD = "body.", "head."


def load_headed(directory: Path) -> tuple[FineTuned, dict[str, Any]]:
    """Return the network with its head, ready for inference, and what head.json tells.

    Raises FileNotFoundError for a missing file, ValueError naming the file for what is not whole.
    """
    config, state = load_model(directory)
    path = directory / CONTENT
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        head = load_file(directory / HEAD_WEIGHTS)
        network = FineTuned(GPT(config, initialised=False), told["reading"], len(head["bias"]), 0.0)
        names = {f"{BODY}{name}": tensor for name, tensor in state.items()}
        network.load_state_dict(names | {f"{HEAD}{name}": tensor for name, tensor in head.items()})
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as fault:
        raise ValueError(f"{path}: not a whole head ({fault!r})") from fault
    return network.eval(), told
