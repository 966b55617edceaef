"""A study whose jobs a cluster's queue takes; the queue plays them in threads of this process."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from launch.launcher import Job, Queue, Submission
from launch.launchers import slurm
from pipeline.errors import ConfigError, Stopped
from pipeline.study import pool, stage
from tests.pipeline.study.conftest import InThread, Study
from tests.pipeline.study.in_process import Ended


@dataclass(frozen=True)
class Arrays:
    """Keeps the names of the jobs of each array. `ended` is the code of every job, if it is not played."""

    arrays: list[list[str]] = field(default_factory=list)
    ended: int | None = None
    processes = 1
    on_each_node = False
    is_detached = True

    def script(self, job: Job) -> str:
        return job.name

    def script_of(self, jobs: Sequence[Job]) -> str:
        return "\n".join(job.name for job in jobs)

    def submit(self, job: Job) -> Submission:
        return InThread(job)

    def submit_all(self, jobs: Sequence[Job]) -> list[Submission]:
        self.arrays.append([job.name for job in jobs])
        return [self.submit(job) if self.ended is None else Ended(self.ended) for job in jobs]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "QUEUE_POLL_SECONDS", 0.05)


def run(study: Study, queue: Queue, *overrides: str) -> str:
    config = study.config(*overrides)
    return stage.run(config, stage.plan(config), queue=queue)


def test_all_runs_that_can_start_are_one_array_and_the_largest_waits_for_its_prediction(study: Study) -> None:
    queue = Arrays()

    run(study, queue)

    first, *_, largest = queue.arrays
    assert len(first) == 7 and all(name.endswith("-train") for name in first)
    assert not any("w48" in name for name in first)
    assert [name.startswith("runs-w48") for name in largest] == [True]
    assert sorted(name for array in queue.arrays for name in array) == sorted(study_jobs(study))
    assert (study.out / "verdict.json").exists()
    config = study.config()
    script = stage.script(config, stage.plan(config), slurm.Config().build())
    assert script == f"{study.out}: every run is trained; no job would be submitted"


def study_jobs(study: Study) -> list[str]:
    runs = [path.name for path in (study.out / "runs").iterdir()]
    return [f"runs-{name}-{verb}" for name in runs for verb in ("train", "evaluate")]


def test_jobs_that_were_asked_to_end_stop_the_study_and_are_no_failures(study: Study) -> None:
    with pytest.raises(Stopped, match="the same command goes on"):
        run(study, Arrays(ended=75))

    assert not (study.out / "verdict.json").exists()
    assert '"failures":[]' in next(study.out.glob("jobs/*.json")).read_text().replace(" ", "")


def test_a_dry_run_prints_the_first_array_and_touches_nothing(study: Study) -> None:
    config = study.config()
    queue = slurm.Config(time="1:00:00", at_once=3).build()

    script = stage.script(config, stage.plan(config), queue)

    assert "#SBATCH --array=0-6%3\n" in script
    assert f"-m pipeline train {study.out}/configs/runs-w8-s0-" in script
    assert not study.out.exists()


def test_a_dry_run_before_the_dataset_is_there_says_so(study: Study, tmp_path: Path) -> None:
    config = study.config(f"data={tmp_path}/nothing")

    script = stage.script(config, stage.plan(config), slurm.Config().build())

    assert "the dataset is not there yet" in script


def test_a_budget_of_seconds_on_this_machine_is_refused(study: Study) -> None:
    with pytest.raises(ConfigError, match=r"tokens\.seconds: how fast a job trains here says nothing"):
        run(study, Arrays(), "tokens.count=null", "tokens.seconds=10")
