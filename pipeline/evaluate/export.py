"""A checkpoint's model as a folder of its own: `loglinear export`."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.evaluate.subject import locate
from pipeline.formats.publish import publishing


def export(checkpoint: Path, to: Path) -> Path:
    """Copy the weights, configuration and tokenizer to a new folder that transformers, vLLM and lm-eval load.

    Raises ConfigError if the folder is there already, or if the path holds no weights.
    """
    if to.exists():
        raise ConfigError(f"--to: {to} is there already; give a new folder")
    subject = locate(checkpoint)
    with publishing(to) as draft:
        draft.mkdir()
        for path in sorted(subject.model.iterdir()):
            if path.is_file():
                shutil.copyfile(path, draft / path.name)
    return to
