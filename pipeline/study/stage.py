"""The study stage: arms of sizes, trained, evaluated, fitted and judged, or a sweep of learning rates.

A configuration with `trials` is another design, a comparison of them: see `comparison`.

A study's directory holds plan.json (frozen before anything is trained), configs/, runs/, finetuned/ (where
it is asked for), jobs/ (what became of each job), points.csv, fits/ (a choice.json is written before a
ladder's largest size is trained) and verdict.json.
"""

from __future__ import annotations

import logging

from launch.launcher import Queue
from launch.launchers import local
from pipeline.config import differences
from pipeline.formats.lock import sole_writer
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.publish import remove_leftovers
from pipeline.study import comparison, telling, trial_plan, trials
from pipeline.study import plan as plans
from pipeline.study.conduct import PLAN, Study
from pipeline.study.config import Config, decisive
from pipeline.study.planner import Launchers
from pipeline.study.preview import Preview
from pipeline.study.preview import plan as preview_of

__all__ = ["Config", "Preview", "describe", "plan", "run"]

LOG = logging.getLogger("loglinear.study")


def plan(config: Config | trials.Config) -> Preview | trial_plan.Plan:
    """Return what follows from a configuration of either design; ConfigError where it cannot be."""
    return trial_plan.make(config) if isinstance(config, trials.Config) else preview_of(config)


def describe(config: Config | trials.Config, preview: Preview | trial_plan.Plan) -> str:
    """Return what will be done as lines for people: the frozen plan where there is one, else the sizes."""
    if isinstance(config, trials.Config):
        assert isinstance(preview, trial_plan.Plan)
        return comparison.describe(config, preview)
    assert isinstance(preview, Preview)
    path = config.out / PLAN
    frozen = plans.read(path) if path.is_file() else None
    is_same = frozen is not None and not differences(frozen.identity, decisive(config))
    return "\n".join(telling.table(frozen) if frozen and is_same else preview.lines())


def script(config: Config | trials.Config, preview: Preview | trial_plan.Plan, queue: Queue) -> str:
    """Return the array of the runs that would be submitted first; touches nothing."""
    if isinstance(config, trials.Config):
        assert isinstance(preview, trial_plan.Plan)
        return comparison.script(config, preview, queue)
    assert isinstance(preview, Preview)
    if not (config.data / MANIFEST).is_file():
        return f"{config.data}: the dataset is not there yet; its runs would be one array of the queue"
    jobs = Study(config, preview.shapes, lambda _: queue, is_queued=True).first_jobs()
    return queue.script_of(jobs) if jobs else f"{config.out}: every run is trained; no job would be submitted"


def run(
    config: Config | trials.Config,
    preview: Preview | trial_plan.Plan,
    launchers: Launchers | None = None,
    queue: Queue | None = None,
) -> str:
    """Carry the study to its verdict and return that as text; what is finished is not done again.

    `launchers` gives the launcher of a job with so many threads, by default child processes of this one;
    with a `queue` the jobs go there, while this process waits for them.
    """
    start = launchers or (lambda threads: queue or local.Config(threads=threads).build())
    if isinstance(config, trials.Config):
        assert isinstance(preview, trial_plan.Plan)
        return comparison.run(config, preview, start, is_queued=queue is not None)
    assert isinstance(preview, Preview)
    config.out.mkdir(parents=True, exist_ok=True)
    refusal = f"{config.out}: another process works on this study; wait for it, or stop it"
    with sole_writer(config.out / "study.lock", refusal):
        remove_leftovers(config.out)
        summary = Study(config, preview.shapes, start, is_queued=queue is not None).finish()
    for line in summary:
        LOG.info("%s", line)
    return "\n".join(summary)
