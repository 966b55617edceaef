"""One checkpoint put to a suite of tasks: what is done stays, what is missing is told, the rest is asked."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.weights_config import read_config
from pipeline.config import differences, identity_hash, identity_of
from pipeline.errors import ConfigError, StageError
from pipeline.evaluate.network import load, load_tokenizer
from pipeline.evaluate.parallel import Team
from pipeline.evaluate.scorer import Scorer
from pipeline.evaluate.suite import Suite
from pipeline.evaluate.task import AboutOthers, Setting, Task
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.results import Result, Results
from pipeline.formats.source import MissingSet
from pipeline.formats.subject import Subject, locate
from pipeline.trainer.origin import origin

if TYPE_CHECKING:
    from pipeline.evaluate.stage import Config

_log = logging.getLogger("loglinear.evaluate")

SHARED = ("limit", "seed", "precision")
"""Keys of the configuration that decide the figures of every task."""


@dataclass(frozen=True)
class Wanted:
    """The tasks that a configuration asks for, and what decides the figures of each; what is missing, why.

    `about` are the names of the tasks that another one is about.
    """

    tasks: dict[str, Task] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    about: dict[str, list[str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def scorer_of(config: Config, path: Path) -> Scorer:
    """Return the weights at a path as a scorer."""
    subject = locate(path)
    tokenizer = load_tokenizer(subject)
    network = load(subject, config.device, config.precision, tokenizer)
    return Scorer(network, config.batch_tokens, tokenizer)


def evaluate(config: Config, subject: Subject, team: Team) -> str:
    """Evaluate what is not yet evaluated, publish the suite and return its figures as a table.

    A task that is finished is not done again when others join it, nor when a set that was missing is there.
    Raises ConfigError where all sets are missing, or the suite's file holds results of another identity.
    """
    started = time.time()
    results = config.out or subject.results
    path = results / f"{config.suite}.json"
    earlier = _read(path)
    wanted = _wanted(config, subject)
    shared = {"weights": subject.weights_hash, "config": {key: identity_of(config)[key] for key in SHARED}}
    before = earlier.origin if earlier else {}
    done = _finished(path, before, shared, wanted) if earlier else {}
    missing = _missing(before, done, wanted)
    waiting = {name: task for name, task in wanted.tasks.items() if name not in done}
    if earlier and not waiting and before.get("missing") == missing:
        _log.info("%s: finished; nothing to do", path)
        return _told(earlier, path)
    with Suite(results, config.suite) as suite:
        if _read(path) != earlier:
            raise StageError(f"{path}: another process has just written it; run this again")
        identities = {name: _identity(shared, wanted, name) for name in waiting}
        figures = _figures(config, subject, suite, team, wanted, identities)
        origins = {
            **origin(),
            "seconds": before.get("seconds", 0.0) + time.time() - started,
            "config_hash": identity_hash(config, weights=subject.weights_hash),
            "inputs": {**shared, "tasks": {**done, **wanted.inputs}},
            "about": {**before.get("about", {}), **wanted.about},
            "missing": missing,
        }
        published = Results(
            checkpoint=str(subject.path),
            weights_hash=subject.weights_hash,
            origin=origins,
            results=(*_kept(earlier, figures), *figures),
        )
        published.write(path)
        suite.forget_way()
    return _told(published, path)


def _read(path: Path) -> Results | None:
    return Results.read(path) if path.is_file() else None


def _wanted(config: Config, subject: Subject) -> Wanted:
    """Return the tasks of a configuration, each with its data."""
    is_dataset = config.data is not None and (config.data / MANIFEST).is_file()
    setting = Setting(
        data=config.data,
        corpus=config.corpus or (config.data if is_dataset else None),
        check_sums=config.check_sums,
        tokenizer=load_tokenizer(subject),
        n_ctx=read_config(subject.model).n_ctx,
        limit=config.limit,
        seed=config.seed,
    )
    wanted = Wanted()
    for name, asked in config.asked:
        try:
            wanted.tasks[name] = asked.build(setting)
        except MissingSet as missing:
            wanted.missing[name] = f"{name}: {missing}"
    for task in wanted.tasks.values():
        if isinstance(task, AboutOthers):
            others = {name: other for name, other in wanted.tasks.items() if other is not task}
            task.over(list(others.values()))
            wanted.about[task.name] = list(others)
    for name, asked in config.asked:
        if built := wanted.tasks.get(name):
            wanted.inputs[built.name] = {**identity_of(asked), "data_sha256": built.data_sha256}
    return wanted


def _missing(before: Mapping[str, Any], done: Mapping[str, Any], wanted: Wanted) -> dict[str, str]:
    """Return which tasks are not done for want of their sets, and tell it; ConfigError if nothing else is."""
    found = {name: why for name, why in wanted.missing.items() if name not in done}
    for why in found.values():
        _log.warning("%s", why)
    if not done and not wanted.tasks:
        raise ConfigError(["tasks: every set is missing", *(f"  {why}" for why in found.values())])
    told: dict[str, str] = before.get("missing", {})
    return {name: why for name, why in told.items() if name not in wanted.inputs} | found


def _finished(
    path: Path, origin_before: Mapping[str, Any], shared: dict[str, Any], wanted: Wanted
) -> dict[str, Any]:
    """Return the inputs of the finished tasks; ConfigError where they are not those that are asked for.

    A task about others is finished if it was about all of those that are asked for.
    """
    inputs, about = origin_before.get("inputs", {}), origin_before.get("about", {})
    before: dict[str, Any] = inputs.get("tasks", {})
    again = [name for name in before if name in wanted.inputs]
    old = {**inputs, "tasks": {name: before[name] for name in again}}
    new = {**shared, "tasks": {name: wanted.inputs[name] for name in again}}
    if changed := differences(old, new):
        remedy = "give another suite or out, or remove it"
        raise ConfigError([f"{path}: holds other results; {remedy}:", *(f"  {line}" for line in changed)])
    outdated = {name for name, others in wanted.about.items() if not set(others) <= set(about.get(name, ()))}
    return {name: given for name, given in before.items() if name not in outdated}


def _identity(shared: dict[str, Any], wanted: Wanted, name: str) -> str:
    """Return the hash of what decides a task's figures."""
    return identity_hash({**shared, "task": wanted.inputs[name], "protocol": wanted.tasks[name].protocol})


def _figures(
    config: Config, subject: Subject, suite: Suite, team: Team, wanted: Wanted, identities: dict[str, str]
) -> list[Result]:
    """Return the figures of the tasks with an identity, once their records are published."""
    if identities:
        team.begin(subject.path)
    waiting = [wanted.tasks[name] for name in identities]
    figures = [
        figure
        for task in waiting
        for figure in suite.run(task, identities[task.name], team, config.batch_tokens, config.precision)
    ]
    for task in waiting:
        suite.publish_records(task, identities[task.name])
    for task in waiting:
        if isinstance(task, AboutOthers):
            figures += [
                figure
                for name, numbers in task.left_out(suite.records(task)).items()
                for figure in suite.without(wanted.tasks[name], numbers, config.precision)
            ]
    return figures


def _kept(earlier: Results | None, figures: Sequence[Result]) -> list[Result]:
    """Return the figures of an earlier suite that none of the new ones replace."""
    new = {(figure.task, figure.metric, figure.subset) for figure in figures}
    if earlier is None:
        return []
    return [each for each in earlier.results if (each.task, each.metric, each.subset) not in new]


def _told(results: Results, path: Path) -> str:
    """Return one line for each figure, with its standard error where it has one, and what is missing."""
    lines = []
    for each in results.results:
        error = "" if each.stderr is None else f" ± {each.stderr:.4f}"
        figure = f"{each.value:>12.4f}{error:<12}"
        subset = "" if each.subset == "all" else f", {each.subset}"
        lines.append(f"{each.task:<24}{each.metric:<28}{figure}{each.num_examples:>8,} examples{subset}")
    lines += [f"not done: {why}" for why in results.origin.get("missing", {}).values()]
    return "\n".join([*lines, str(path)])
