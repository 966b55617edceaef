"""What is evaluated, sampled or exported: a user's path, resolved to one folder of weights."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from model import weights_openai
from pipeline.errors import ConfigError, FormatError
from pipeline.formats import checkpoint as checkpoints
from pipeline.formats.publish import blake3_of

_log = logging.getLogger("loglinear.evaluate")

MODEL = "model"
KINDS = "a run, a checkpoint, its model folder, or a folder in Hugging Face's or OpenAI's layout"


@dataclass(frozen=True)
class Subject:
    """A folder of weights: `path` is the checkpoint or the given folder, `model` where the weights lie."""

    path: Path
    model: Path

    @property
    def is_checkpoint(self) -> bool:
        """Whether the weights are part of a checkpoint of ours."""
        return self.path != self.model

    @property
    def results(self) -> Path:
        """Where results belong: in the run by step, or in the given folder by the hash of its weights."""
        if not self.is_checkpoint:
            return self.path / "results" / self.weights_hash[:16]
        folder = self.path.parent
        run = folder.parent if folder.name == checkpoints.FOLDER else folder
        return run / "results" / self.path.name

    @cached_property
    def weights_hash(self) -> str:
        """Hash of the weights' files: BLAKE3 of the only one, or of the sums of several."""
        if self.is_checkpoint:
            recorded = checkpoints.Meta.read(self.path).blake3
            sums = [
                recorded[name]
                for name in sorted(recorded)
                if name.endswith(".safetensors") and _of_model(name)
            ]
        else:
            released = weights_openai.architecture_of(self.model)
            files = weights_openai.weight_files if released else _safetensors
            sums = [blake3_of(path) for path in files(self.model)]
        if not sums:
            raise FormatError(
                f"{self.model}: no weights here; they are read from .safetensors, or as OpenAI released them"
            )
        return (
            sums[0]
            if len(sums) == 1
            else hashlib.blake2b("\n".join(sums).encode(), digest_size=32).hexdigest()
        )


def locate(path: Path) -> Subject:
    """Return the weights that a path means; of a run, those of the newest whole checkpoint.

    Raises ConfigError if the path means none, FormatError if the checkpoint's weights are not what its meta
    says.
    """
    if path.name == MODEL and (path.parent / checkpoints.META).is_file():
        path = path.parent
    if (path / checkpoints.META).is_file():
        checkpoints.verify(path, only=f"{MODEL}/")  # the training state is nobody's business here
        return Subject(path, path / MODEL)
    if (path / checkpoints.FOLDER).is_dir():
        newest = checkpoints.newest_whole(path / checkpoints.FOLDER)
        if newest is None:
            raise ConfigError(f"checkpoint: {path} has no whole checkpoint yet; train it on, or name another")
        _log.info("%s: newest whole checkpoint is %s", path, newest[0].name)
        return Subject(newest[0], newest[0] / MODEL)
    if (path / "config.json").is_file() or weights_openai.architecture_of(path):
        return Subject(path, path)
    what = f"is not {KINDS}" if path.exists() else "does not exist"
    raise ConfigError(f"checkpoint: {path} {what}; give {KINDS}")


def _safetensors(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _of_model(name: str) -> bool:
    return name.startswith(f"{MODEL}/")
