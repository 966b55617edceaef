"""All seeds of a fine-tuning, one after another in the same processes, and their summary."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path

from launch.environment import rank, world_size
from model.weights_config import read_config
from pipeline.config import dump
from pipeline.errors import Stopped
from pipeline.finetune.dataset import Split
from pipeline.finetune.materials import Materials
from pipeline.finetune.measure import guessed
from pipeline.finetune.network import tokenizer_of
from pipeline.finetune.rows import Head
from pipeline.finetune.seed import RESULTS, Seed
from pipeline.finetune.stage import Config, Plan, name_of
from pipeline.finetune.transform import Layout
from pipeline.formats.results import Result, Results
from pipeline.formats.run import Run, RunWriter, writing
from pipeline.formats.source import MissingSet
from pipeline.formats.summary import NAME, Summary, summarised
from pipeline.trainer.collective import from_first, gathered, join, leave, wait_for_all
from pipeline.trainer.hardware import choose_device, keep_freed_memory
from pipeline.trainer.origin import origin
from pipeline.trainer.stop import Stop
from pipeline.trainer.watchdog import Watcher

_log = logging.getLogger("loglinear.finetune")


def finetune(config: Config, plan: Plan, outer: RunWriter | None, stop: Stop, watcher: Watcher) -> None:
    """Fine-tune all seeds that are not finished; `outer` is rank 0's alone. Raises Stopped where asked to."""
    keep_freed_memory(thrifty=config.engine.thrifty)
    if world_size() > 1:
        watcher.at("meeting of the processes")
        join(choose_device(config.engine.device), watcher.group_seconds)
        watcher.meets(gathered)
    watcher.at("start-up")
    if outer is not None:
        outer.begin_attempt({"inputs": plan.inputs, "config_hash": plan.config_hash, **origin()})
    try:
        materials = _materials(config, plan)
        results = {seed: _one(config, plan, materials, seed, stop, watcher) for seed in config.seeds}
        if outer is not None:
            chance = {
                (name, metric): value
                for name in materials.splits
                for metric, value in guessed(plan.dataset, materials.examples(name)).items()
            }
            Summary(
                task=f"finetune/{name_of(config)}",
                config_hash=plan.config_hash or "",
                inputs=plan.inputs,
                figures=summarised(results, chance),
            ).write(config.out)
            _log.info("%s: finished", config.out / NAME)
        _end(outer, "finished", 0)
        wait_for_all()  # the summary is there for all
    except Stopped:
        _end(outer, "stopped", Stopped.exit_code)
        raise
    finally:
        leave()


def _materials(config: Config, plan: Plan) -> Materials:
    """Read the network's tokenizer and every split that is there."""
    assert plan.subject is not None
    assert plan.train is not None
    tokenizer = tokenizer_of(plan.subject.model)
    splits: dict[str, Split] = {"train": plan.train}
    for name in plan.dataset.splits:
        if name != "train":
            try:
                splits[name] = plan.dataset.read(name, config.data, config.check_sums)
            except MissingSet as missing:
                if name == "validation":
                    raise
                _log.warning("%s; the other splits do without it", missing)
    for split in splits.values():
        _log.info("%s", split.told)
    n_ctx = read_config(plan.subject.model).n_ctx
    layout = Layout.behind(tokenizer.vocab_size, min(config.max_tokens or n_ctx, n_ctx))
    return Materials(
        dataset=plan.dataset,
        folder=plan.subject.model,
        tokenizer=tokenizer,
        layout=layout,
        head=Head.of(plan.dataset),
        splits=splits,
        limit=config.limit,
    )


def _one(
    config: Config, plan: Plan, materials: Materials, seed: int, stop: Stop, watcher: Watcher
) -> tuple[Result, ...]:
    """Return the results of a seed, once it is finished; all ranks get those of rank 0."""
    folder = config.out / f"seed-{seed}"
    found = from_first(_results(folder) if rank() == 0 else None)
    if found is None:
        with ExitStack() as stack:
            writer = stack.enter_context(writing(folder)) if rank() == 0 else None
            if writer is not None:
                writer.write_config(dump(config))
            Seed(config, plan, materials, seed, writer, watcher).run(stop)
        wait_for_all()
        found = from_first(_results(folder) if rank() == 0 else None)
    return tuple(found)


def _results(folder: Path) -> tuple[Result, ...] | None:
    """Return the results of a finished seed, None if it is not: they are written last."""
    found = sorted(Run(folder).results.glob(f"*/{RESULTS}"))
    return Results.read(found[-1]).results if found else None


def _end(outer: RunWriter | None, reason: str, code: int) -> None:
    if outer is not None:
        outer.clear_stop()
        outer.end_attempt(reason)
        outer.write_exit(reason, code)
