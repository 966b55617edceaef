"""Every run of a study from its configuration: arms, sizes, seeds, and what waits for what; arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from model.config import GPTConfig, parameters_non_embedding
from model.tokenizer import Tokenizer
from pipeline.errors import ConfigError
from pipeline.study import finetuning
from pipeline.study import plan as plans
from pipeline.study.config import FEWEST_SIZES, Arm, Config
from pipeline.study.dial import Rung
from pipeline.study.finetuning import FineTuning, Labelled, Start
from pipeline.study.plan import ONLY_ARM, Measurement, PlannedArm, PlannedRun
from pipeline.study.regimes import CHECK, ONE_RULE, RATES, Asked, Regime, asked

FEWEST_STEPS = 10
"""Fewer steps are no training; a budget in FLOPs that gives a size fewer is too small for it."""
BRANCH_SCHEDULE = {"kind": "wsd", "final_lr_fraction": 0.0, "decay_shape": "1-sqrt"}
"""Hägele et al. 2024."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a plan rests on besides the configuration; `data_tokens` is 0 while the dataset is not there.

    `count` are the tokens of the study, where they are not in the configuration; `labelled` are the datasets
    to fine-tune on, `tokenizer` the one to count their tokens by.
    """

    shapes: Mapping[str, GPTConfig]
    data_hash: str
    data_tokens: int
    count: int | None = None
    measurements: Mapping[str, Measurement]
    labelled: Sequence[Labelled] = ()
    tokenizer: Tokenizer | None = None


def assemble(config: Config, given: Given) -> tuple[tuple[PlannedArm, ...], tuple[PlannedRun, ...]]:
    """Return the arms and runs of a study, a run that two arms ask for once.

    ConfigError names the runs that repeat the data too often or are too short.
    """
    study = _Study(config, given)
    arms = [study.planned(arm) for arm in config.arms] or [study.only()]
    runs = [run for arm in (config.arms or (None,)) for run in study.runs(arm)]
    if config.check:
        checks = study.checks()
        arms.append(_check_arm(config, checks))
        runs += checks
    runs = study.timed(study.finetuned(_awaiting(_shared(runs), arms)))
    if problems := _problems(config, runs):
        raise ConfigError(problems)
    return tuple(arms), tuple(runs)


class _Study:
    """A configuration with what it rests on."""

    def __init__(self, config: Config, given: Given):
        self._config, self._given = config, given

    def planned(self, arm: Arm) -> PlannedArm:
        """Return an arm as it is told."""
        regime = self._regime(arm)
        if arm.lr_factor:
            words = f"{arm.lr_factor:g} times the learning rate of the rule, {regime.words}"
            return PlannedArm(name=arm.name, regime=RATES, words=words, is_ladder=False)
        sizes = len({self._size(rung) for rung in self._config.rungs_of(arm)})
        is_ladder = regime.name in ONE_RULE and sizes >= FEWEST_SIZES
        return PlannedArm(name=arm.name, regime=regime.name, words=regime.words, is_ladder=is_ladder)

    def only(self) -> PlannedArm:
        """Return the one arm of a study that names none."""
        return replace(ONLY_ARM, words=self._regime(None).words)

    def runs(self, arm: Arm | None) -> list[PlannedRun]:
        """Return the runs of an arm, one after the other that it goes on from."""
        rungs = self._config.rungs_of(arm) if arm else self._config.sizes
        factor = (arm.lr_factor if arm else None) or 1.0
        name = arm.name if arm else ""
        return [
            run
            for rung in rungs
            for seed in rung.seeds
            for run in self._of_size(rung, seed, name, self._regime(arm), factor)
        ]

    def checks(self) -> list[PlannedRun]:
        """Return the main arm's smallest and largest size, first seed, at other learning rates."""
        main = self._config.arms[0] if self._config.arms else None
        regime = self._regime(main)
        if regime.name not in ONE_RULE or (main and main.lr_factor):
            raise ConfigError(
                "check: rates are compared at sizes of the first arm, which needs one number of tokens for "
                "each; give the first arm count or per_parameter, or leave check out"
            )
        assert self._config.check
        sizes = sorted(self._config.rungs_of(main) if main else self._config.sizes, key=self._size)
        return [
            run
            for rung in (sizes[0], sizes[-1])
            for factor in self._config.check.factors
            if factor != 1
            for run in self._of_size(rung, rung.seeds[0], CHECK, regime, factor)
        ]

    def finetuned(self, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
        """Return the runs, those that are results with their fine-tunings."""
        return [run if run.is_trunk else replace(run, finetunings=self._finetunings(run)) for run in runs]

    def _finetunings(self, run: PlannedRun) -> tuple[FineTuning, ...]:
        start = Start(
            hash=run.config_hash,
            training=run.name,
            shape=self._given.shapes[run.rung],
            tokenizer=self._given.tokenizer,
        )
        return tuple(finetuning.planned(self._config, run.name, start, data) for data in self._given.labelled)

    def timed(self, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
        """Return the runs with their threads, and how long each takes by what is known of speeds."""
        return [self._timed(run, threads_of(self._config, run, runs)) for run in runs]

    def _timed(self, run: PlannedRun, threads: int) -> PlannedRun:
        hardware, measured = self._config.hardware, self._given.measurements.get(run.rung)
        seconds, tunings = None, run.finetunings
        if measured is not None:
            seconds = plans.run_seconds(measured, run.tokens)
        elif hardware is not None:
            each = run.flops / run.tokens
            precision = str(self._config.train.get("precision", "fp32"))
            seconds = hardware.seconds(run.new_flops, each, precision, threads)
            tunings = tuple(self._timed_tuning(job, each, threads) for job in tunings)
            known = [job.seconds for job in tunings if job.seconds is not None]
            seconds = seconds + math.fsum(known) if len(known) == len(tunings) else None
        return replace(run, threads=threads, estimated_seconds=seconds, finetunings=tunings)

    def _timed_tuning(self, job: FineTuning, flops_per_token: float, threads: int) -> FineTuning:
        """Return a fine-tuning with the time it takes at a training's speed, where its FLOPs are known."""
        if job.flops is None or self._config.hardware is None:
            return job
        precision = str(self._config.finetune.get("precision", "fp32"))
        seconds = self._config.hardware.seconds(job.flops, flops_per_token, precision, threads)
        return replace(job, seconds=seconds)

    def _of_size(self, rung: Rung, seed: int, arm: str, regime: Regime, factor: float) -> list[PlannedRun]:
        shape = self._given.shapes[rung.name]
        asks = asked(regime, shape, self._sequence_tokens(shape))
        made: list[PlannedRun] = []
        for ask in asks:
            parent = None if ask.after is None else made[ask.after]
            train = self._train(rung, seed, ask, asks, factor)
            if parent is not None:
                train["init"] = {"what": "state"}
            run = plans.describe_run(
                train,
                shape,
                rung=rung.name,
                arm=arm,
                data_hash=self._given.data_hash,
                data_tokens=self._given.data_tokens,
                parent=parent,
            )
            made.append(replace(run, regime=ask.words, budget=ask.budget, is_trunk=ask.is_trunk))
        return made

    def _train(
        self, rung: Rung, seed: int, ask: Asked, asks: Sequence[Asked], factor: float
    ) -> dict[str, Any]:
        """Return the training configuration of a run. A trunk and its branches share batch and warm-up."""
        is_branched = ask.decay_from is not None
        shortest = min(each.tokens for each in asks if not each.is_trunk) if is_branched else ask.tokens
        longest = max(each.tokens for each in asks) if is_branched else ask.tokens
        batch = self._batch(longest, self._sequence_tokens(self._given.shapes[rung.name]))
        tokens = max(batch, ask.tokens // batch * batch)
        schedule: dict[str, Any] = {}
        if ask.decay_from is not None:
            warmup = max(batch, round(shortest * self._config.warmup_fraction / batch) * batch)
            start = max(batch, ask.decay_from // batch * batch)
            schedule = {**BRANCH_SCHEDULE, "warmup_tokens": warmup, "decay_tokens": tokens - start}
        return plans.complete(
            self._config.train,
            model=rung.shape,
            seed=seed,
            lr=self._rate(rung, factor, batch),
            tokens=tokens,
            warmup_fraction=self._config.warmup_fraction,
            batch_tokens=batch,
            schedule=schedule,
        )

    def _rate(self, rung: Rung, factor: float, batch: int) -> float:
        chosen, batches = self._config.learning_rate, self._config.batch
        if batches is not None:
            factor *= (batch / batches.base_tokens) ** batches.lr_exponent
        return plans.learning_rate(
            rung.model.n_embd,
            base=chosen.base * factor,
            base_width=chosen.base_width,
            exponent=chosen.exponent,
        )

    def _batch(self, tokens: int, sequence_tokens: int) -> int:
        chosen = self._config.batch
        if chosen is None:
            return int(self._config.train["global_batch_tokens"])
        wanted = float(chosen.base_tokens * (tokens / chosen.at_train_tokens) ** chosen.exponent)
        return max(1, round(wanted / sequence_tokens)) * sequence_tokens

    def _regime(self, arm: Arm | None) -> Regime:
        if arm is not None and arm.tokens is not None:
            return arm.tokens
        tokens = self._config.tokens
        assert tokens is not None, "the configuration was checked"
        return Regime(count=self._given.count or tokens.count)

    def _sequence_tokens(self, shape: GPTConfig) -> int:
        return int(self._config.train.get("sequence_tokens") or shape.n_ctx)

    def _size(self, rung: Rung) -> int:
        return parameters_non_embedding(self._given.shapes[rung.name])


def threads_of(config: Config, run: PlannedRun, runs: Sequence[PlannedRun]) -> int:
    """Return the threads of a run: a ladder's largest trains last, and its seeds share all that there are."""
    if not run.is_largest:
        return config.threads
    beside = sum(other.is_largest and other.arm == run.arm for other in runs)
    return max(config.threads, config.threads * config.processes // beside)


def _check_arm(config: Config, checks: Sequence[PlannedRun]) -> PlannedArm:
    assert config.check
    sizes = " and ".join(dict.fromkeys(run.rung for run in checks))
    factors = ", ".join(f"{factor:g}" for factor in config.check.factors)
    words = f"{sizes} at {factors} times the learning rate of the rule, as the first arm else"
    return PlannedArm(name=CHECK, regime=CHECK, words=words, is_ladder=False)


def _shared(runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Return each run once, with all the arms that asked for it."""
    found: dict[str, PlannedRun] = {}
    for run in runs:
        first = found.get(run.config_hash)
        if first is None:
            found[run.config_hash] = run
        elif run.arm not in first.arms:
            found[run.config_hash] = replace(first, also=(*first.also, run.arm))
    names = {run.name: found[run.config_hash].name for run in runs}
    return [replace(run, parent=names[run.parent]) if run.parent else run for run in found.values()]


def _awaiting(runs: Sequence[PlannedRun], arms: Sequence[PlannedArm]) -> list[PlannedRun]:
    """Mark each ladder's largest size; other arms' runs of such a size wait for all ladders' predictions."""
    ladders = [arm.name for arm in arms if arm.is_ladder]
    most = {
        arm: max(run.params_non_embedding for run in runs if arm in run.arms and not run.is_trunk)
        for arm in ladders
    }
    marked = []
    for run in runs:
        largest_of = tuple(arm for arm in ladders if run.params_non_embedding == most[arm])
        own = tuple(arm for arm in largest_of if arm in run.arms)
        is_of_a_ladder = any(arm in ladders for arm in run.arms)
        others = tuple(ladders) if largest_of and not is_of_a_ladder else ()
        marked.append(replace(run, is_largest=bool(own), awaits=own or others))
    return marked


def _problems(config: Config, runs: Sequence[PlannedRun]) -> list[str]:
    problems = []
    for run in runs:
        if config.max_epochs is not None and run.epochs > config.max_epochs:
            problems.append(
                f"max_epochs: {run.name} would see its {run.data_tokens:,} tokens {run.epochs:.2f} times, "
                f"more than {config.max_epochs:g}; give it fewer tokens, or the study more data"
            )
        if run.budget is not None and run.tokens < FEWEST_STEPS * run.batch_tokens:
            problems.append(
                f"tokens.flops: {run.name} would train {run.tokens // run.batch_tokens} steps with "
                f"{run.budget:.3g} FLOPs, fewer than {FEWEST_STEPS}; name smaller rungs for this arm, or "
                "larger budgets"
            )
        if run.tokens <= run.parent_tokens:
            problems.append(
                f"tokens.branches: {run.name} has no step of its own: its {run.tokens:,} tokens in whole "
                "batches are no more than what it goes on from; set the horizons farther apart"
            )
    return problems
