"""Where a run starts when not from nothing: the weights of a model, or a trunk's training state.

What the start is, is fixed at the first start of the run and part of its identity from then on, by the hash
of the parent; where the parent lies is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import blake3

from pipeline.config import Schema, differences, execution, identity
from pipeline.errors import ConfigError, FormatError
from pipeline.formats import checkpoint as checkpoints
from pipeline.formats.checkpoint import META, Meta
from pipeline.formats.publish import blake3_of
from pipeline.formats.run import Run
from pipeline.train.rollback import is_good

if TYPE_CHECKING:
    from model.transformer import GPT

# Files of a model folder that say what the model is.
_CONTENT = (".safetensors", ".npy", ".index", ".data-00000-of-00001")
_SHAPES = ("config.json", "hparams.json", "params_shapes.json", "model.safetensors.index.json")
# What the data's order and the meaning of a state depend on, besides the data.
_SAME = ("global_batch_tokens", "sequence_tokens", "seed", "model")


class Init(Schema):
    """A parent to start from.

    weights: start at step 0 from them. state: go on from a trunk's step with its data's order, and with a
    schedule and horizon of this run's own, such as a decay.
    """

    checkpoint: Path = execution(
        description="a checkpoint, a run (its newest whole one), or a model folder of Hugging Face or OpenAI"
    )
    what: Literal["weights", "state"] = identity(description="what is taken over from the parent")


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A resolved parent. `asked` is what the configuration named, `step` None for a model folder."""

    asked: str
    checkpoint: Path
    hash: str
    step: int | None

    @property
    def model(self) -> Path:
        """The folder of its weights."""
        return self.checkpoint if self.step is None else self.checkpoint / "model"


def resolve(init: Init, run: Run) -> Parent | None:
    """Return the parent that a run has, or will have: the recorded one as long as the same is asked for.

    None where nothing is there yet; FormatError where what is there cannot be a parent.
    """
    asked = str(init.checkpoint)
    recorded = recorded_in(run)
    if recorded and recorded.asked == asked:
        found = _read(asked, recorded.checkpoint) if recorded.checkpoint.is_dir() else None
        return found or recorded  # a run that has begun may outlive its parent
    return _read(asked, init.checkpoint) if init.checkpoint.is_dir() else None


def recorded_in(run: Run) -> Parent | None:
    """Return the parent that a run's first attempt wrote down."""
    for attempt in run.attempts():
        if values := attempt.get("plan", {}).get("parent"):
            return Parent(**{**values, "checkpoint": Path(values["checkpoint"])})
    return None


def problems_of_state(
    parent: Parent, config: Mapping[str, Any], data_hash: str | None, train_tokens: int
) -> list[str]:
    """Return why a run cannot go on from a parent's state; `config` is the run's identity."""
    where = f"init.checkpoint: {parent.checkpoint}"
    if parent.step is None:
        return [f"{where} has no training state; use what: weights"]
    meta = Meta.read(parent.checkpoint)
    if not meta.identity:
        return [f"{where} does not tell its configuration; let this version save it once more"]
    old, new = (_order_of(identity) for identity in (meta.identity, config))
    if data_hash is not None:
        old, new = {**old, "data": meta.data_hash}, {**new, "data": data_hash}
    problems = [f"{where} is of another run: {line}" for line in differences(old, new)]
    if not is_good(meta):
        problems.append(f"{where} was written within a streak of skipped steps; take one before or after it")
    if train_tokens <= meta.tokens:
        problems.append(
            f"train_tokens: {train_tokens:,}, but {parent.checkpoint} has seen {meta.tokens:,} already; the"
            " horizon counts the trunk's tokens too"
        )
    return problems


def load_weights(model: GPT, parent: Parent) -> None:
    """Fill a model from its parent; ConfigError with the differences where the shapes are not the same."""
    from model.weights import load_model

    if parent.step is not None:
        checkpoints.verify(parent.checkpoint)
    try:
        shape, state = load_model(parent.model)
    except (OSError, ValueError) as fault:
        raise FormatError(f"init.checkpoint: {fault}") from None
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if expected != found:
        taken = ("architecture", "n_layer", "n_head", "n_embd", "n_ctx", "vocab_size")
        theirs, ours = (
            {name: value for name, value in asdict(each).items() if name in taken}
            for each in (shape, model.config)
        )
        lines = differences(theirs, ours) or differences(found, expected)
        raise ConfigError([f"{parent.model} is another model: model.{line}" for line in lines])
    model.load_state_dict(state)


def _order_of(config: Mapping[str, Any]) -> dict[str, Any]:
    sequence_tokens = config["sequence_tokens"] or config["model"]["n_ctx"]
    return {name: {**config, "sequence_tokens": sequence_tokens}[name] for name in _SAME}


def _read(asked: str, directory: Path) -> Parent:
    run = Run(directory)
    if run.checkpoints():
        newest = checkpoints.newest_whole(run.checkpoint_folder)
        if newest is None:
            raise FormatError(f"{directory}: none of this run's checkpoints is whole")
        directory = newest[0]
    if (directory / META).is_file():
        meta = Meta.read(directory)
        return Parent(
            asked=asked,
            checkpoint=directory,
            hash=blake3_of(directory / META)[:16],
            step=meta.step,
        )
    return Parent(asked=asked, checkpoint=directory, hash=_hash_of_model(directory), step=None)


def _hash_of_model(directory: Path) -> str:
    files = [
        path for path in sorted(directory.iterdir()) if path.name.endswith(_CONTENT) or path.name in _SHAPES
    ]
    if not files:
        raise FormatError(
            f"init.checkpoint: {directory} holds no checkpoint, run or model; give one of these"
        )
    digest = blake3.blake3()
    for path in files:
        digest.update(f"{path.name} {blake3_of(path)}\n".encode())
    return digest.hexdigest()[:16]
