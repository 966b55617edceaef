"""Tasks of a Ray cluster (extra `ray`); `out` must be on a file system that all nodes share.

datatrove's executor places the tasks. It waits for ever for a process that was killed, so each rank runs in
one more process here, whose end is seen.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

from datatrove.executor.ray import RayPipelineExecutor
from datatrove.utils.stats import PipelineStats

from launch.process import end_with
from pipeline.config import Schema, execution
from pipeline.data.executor import Attempt, Tasks, silence_datatrove
from pipeline.data.executors.local import in_processes
from pipeline.errors import ConfigError

GIGABYTE = 1 << 30

log = logging.getLogger("loglinear.data")


class Config(Schema):
    """What is asked of the cluster; `workers` is how many tasks run at a time."""

    address: str | None = execution(
        None, description="of a running cluster (auto, HOST:PORT); empty: RAY_ADDRESS, or this machine alone"
    )
    cpus_per_task: int = execution(1, ge=1)
    mem_per_cpu_gb: float = execution(2, gt=0)

    def run(self, tasks: Tasks, workers: int | None) -> None:
        """Run the incomplete ranks on the cluster; the connection stays for the passes after this one."""
        self._connect()
        silence_datatrove()
        ranks = Ranks(
            pipeline=[Attempt(tasks)],
            tasks=tasks.number,
            logging_dir=str(tasks.directory),
            workers=workers or -1,
            cpus_per_task=self.cpus_per_task,
            mem_per_cpu_gb=self.mem_per_cpu_gb,
        )
        with warnings.catch_warnings():
            # One that is an error would be lost in datatrove's threads, which are then waited for for ever.
            warnings.simplefilter("ignore")
            ranks.run()

    def settle(self, directory: Path) -> None:
        """Do nothing: Ray ends the tasks of a command with the command."""

    def _connect(self) -> None:
        try:
            import ray
        except ModuleNotFoundError:
            raise ConfigError("execute.executor: kind ray wants `pip install 'loglinear[ray]'`") from None
        if not ray.is_initialized():
            ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR)
        if not any(self._fits(node["Resources"]) for node in ray.nodes() if node["Alive"]):
            log.warning(
                "no node of the Ray cluster has %d CPUs and %g GB for a task; waiting until one joins",
                self.cpus_per_task,
                self.cpus_per_task * self.mem_per_cpu_gb,
            )

    def _fits(self, node: Mapping[str, float]) -> bool:
        memory = self.cpus_per_task * self.mem_per_cpu_gb * GIGABYTE
        return node.get("CPU", 0) >= self.cpus_per_task and node.get("memory", 0) >= memory


class Ranks(RayPipelineExecutor):  # type: ignore[misc]
    """datatrove's executor whose ranks run as the local ones do: in a process each, logs in their place."""

    def _run_for_rank(self, rank: int, *_: int, **__: int) -> PipelineStats:
        end_with(os.getppid())  # the actor, which Ray ends when the command that it belongs to is gone
        tasks: Tasks = self.pipeline[0].tasks
        in_processes(multiprocessing.get_context("spawn"), tasks, [rank], workers=1)
        if rank in tasks.incomplete():
            raise RuntimeError(tasks.fault(rank).told)
        return PipelineStats()
