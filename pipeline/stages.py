"""Which stages there are, and a stage with its configuration."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from pipeline.composition import Composed, compose, lay_over, part
from pipeline.errors import ConfigError

STAGES = ("data", "train", "evaluate", "finetune", "study")

_STUDY_KEYS = {"rungs", "dial", "trials"}

# What a study gives to its jobs: enough of it that the rest of their configurations can be looked at before.
_GIVEN: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "train": {
            "out": "run",
            "data": "data",
            "model": {"n_layer": 1, "n_head": 1, "n_embd": 64},
            "optim": {"lr": 1e-3},
            "train_tokens": 10**12,
        },
        "finetune": {"out": "fine", "checkpoint": "run", "dataset": {"kind": "rte"}},
        "evaluate": {"checkpoint": "run", "data": "data", "suite": "study"},
    }
)


def load_stage(verb: str, config: Path, overrides: Sequence[str] | None = None) -> tuple[ModuleType, Any]:
    """Return the module of a stage and its configuration.

    Raises ConfigError for a stage that there is none of, and for all faults of the configuration; of a study
    also for those in the configurations of its jobs.
    """
    from pipeline.config import did_you_mean, validated

    if verb not in STAGES:
        raise ConfigError(f"{verb}: no such stage{did_you_mean(verb, STAGES)}; there are {', '.join(STAGES)}")
    composed = compose(config, overrides or ())
    found = validated(_stage(verb).Config, composed)
    if verb == "study":
        _check_jobs(composed)
    return _stage(verb), found


def verb_of(config: Path, overrides: Sequence[str] | None = None) -> str:
    """Return the verb of a configuration that `loglinear plan` is asked about: study, or else train."""
    return "study" if _STUDY_KEYS & set(compose(config, overrides or ()).value) else "train"


def _stage(verb: str) -> ModuleType:
    return importlib.import_module(f"pipeline.{verb}.stage")


def _check_jobs(study: Composed) -> None:
    """Raise ConfigError for what the jobs of a study would refuse."""
    from pipeline.config import validated

    problems: dict[str, None] = {}
    for verb, given in _GIVEN.items():
        if isinstance(study.value.get(verb), dict):
            for asked in _asked(study, verb):
                try:
                    validated(_stage(verb).Config, lay_over(Composed({**given}), asked))
                except ConfigError as fault:
                    problems |= dict.fromkeys(fault.problems)
    if problems:
        raise ConfigError(list(problems))


def _asked(study: Composed, verb: str) -> Iterator[Composed]:
    """Yield the configurations of a verb's jobs: the common one, or each trial's over it."""
    common, trials = part(study, verb), study.value.get("trials") or ()
    if not trials or verb == "evaluate":  # which trials share
        yield common
    for number, trial in enumerate(trials):
        if verb in trial or verb == "finetune":
            own = part(part(part(study, "trials"), number), verb) if trial.get(verb) else Composed({})
            yield lay_over(common, own)
