"""A checkpoint's model as a folder of its own: `loglinear export`."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.formats.checkpoint import Meta
from pipeline.formats.publish import publishing
from pipeline.formats.subject import MODEL, Subject, locate

_log = logging.getLogger("loglinear.evaluate")


def export(checkpoint: Path, to: Path) -> Path:
    """Write weights, configuration and tokenizer to a new folder that transformers, vLLM and lm-eval load.

    A checkpoint's model is copied; weights in another layout (OpenAI's, or with padding in their vocabulary)
    are read and written anew. Raises ConfigError if the folder is there already, or if the path holds no
    weights; FormatError if what it holds is damaged.
    """
    if to.exists():
        raise ConfigError(f"--to: {to} is there already; give a new folder")
    subject = locate(checkpoint)
    with publishing(to) as draft:
        if subject.is_checkpoint:
            _copy(subject, draft)
        else:
            _convert(subject, draft)
    return to


def _copy(subject: Subject, draft: Path) -> None:
    """Copy what the checkpoint says is its model: what else lies there, a link perhaps, is not published."""
    draft.mkdir()
    for name in Meta.read(subject.path).blake3:
        folder, _, file = name.rpartition("/")
        if folder == MODEL:
            shutil.copyfile(subject.model / file, draft / file)


def _convert(subject: Subject, draft: Path) -> None:
    from model.weights import save_model  # brings torch, which a copy does without
    from pipeline.evaluate.network import find_tokenizer, load_weights

    tokenizer = find_tokenizer(subject)
    if tokenizer is None:
        _log.warning("%s: no tokenizer here, so none is exported", subject.model)
    config, state = load_weights(subject, tokenizer)
    save_model(draft, state, config, tokenizer)
