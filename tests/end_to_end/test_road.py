"""The whole road on a few dozen real pages, walked as a user would: by the command line."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.formats.manifest import Manifest
from pipeline.quickstart import server
from pipeline.quickstart.site.build import HOST, render_site
from pipeline.quickstart.submissions import write_submissions

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

MODEL = {"n_layer": 1, "n_head": 2, "n_ctx": 32, "vocab_size": 512}
STUDY = {
    "from": str(CONFIGS / "study" / "quickstart.yaml"),
    "train": {
        "from": str(CONFIGS / "train" / "ladder.yaml"),
        "model": MODEL,
        "global_batch_tokens": 128,
        "validation": {"tokens": 1024},
    },
    "evaluate": {
        "from": str(CONFIGS / "evaluate" / "quickstart.yaml"),
        "tasks": [{"kind": "held_out", "split": "test", "tokens": 2000}],
    },
    "rungs": [
        {"name": f"w{width}", "model": {"n_layer": 1, "n_head": 2, "n_embd": width}, "seeds": [0]}
        for width in (4, 8, 16, 32)
    ],
    "tokens": {"count": 1280, "seconds": None},
}


def loglinear(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT)


def succeeded(*words: str | Path) -> str:
    done = loglinear(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("road")
    render_site(out / "site", ("jinja2", "click"), workers=2)
    write_submissions(out / "site", out / "RS_test.zst")
    return out


@pytest.fixture(scope="module")
def address(out: Path) -> Iterator[str]:
    with server.start(out / "site") as running:
        yield running.address


def data_command(out: Path, dataset: Path, address: str) -> list[str | Path]:
    return [
        *(
            "data",
            CONFIGS / "data" / "quickstart.yaml",
            f"out={dataset}",
            f"links.inputs=[{out / 'RS_test.zst'}]",
        ),
        *(f"fetch.hosts={{{HOST}: '{address}'}}", f"fetch.allow=['{address}']"),
        *("tokenizer.vocab_size=512", "splits={validation: 0.2, test: 0.2}"),
    ]


def hashes(dataset: Path) -> dict[str, list[str]]:
    splits = Manifest.read(dataset).splits
    return {split: [shard.sha256 for shard in shards] for split, shards in splits.items()}


@pytest.fixture(scope="module")
def dataset(out: Path, address: str) -> Path:
    succeeded(*data_command(out, out / "data", address))
    return out / "data"


def test_links_with_votes_become_a_whole_dataset(dataset: Path) -> None:
    manifest = Manifest.read(dataset)

    manifest.check(dataset)
    assert manifest.tokens("train") > 10_000
    assert [phase["name"] for phase in manifest.phases][:3] == ["links", "fetch", "extract"]
    for phase in manifest.phases:
        assert phase["documents_in"] == phase["documents_out"] + sum(phase["dropped"].values())
    assert (dataset / "datasheet.md").is_file()


def test_a_finished_dataset_is_left_alone_and_another_configuration_refused(
    out: Path, dataset: Path, address: str
) -> None:
    before = (dataset / "manifest.json").stat().st_mtime_ns
    command = data_command(out, dataset, address)

    assert loglinear(*command).returncode == 0
    assert (dataset / "manifest.json").stat().st_mtime_ns == before

    refused = loglinear(*command, "links.min_karma=5")
    assert refused.returncode == 2
    assert "links.min_karma: 3 -> 5" in refused.stderr
    assert "Traceback" not in refused.stderr


# What stands on disk once a phase is at work.
AT_WORK = {
    "links": "config.yaml",
    "fetch": "pages/journal-*.jsonl",
    "extract": ".phases/extract-*",
    "filter": ".phases/filter-*",
    "dedup": ".phases/dedup-*/tasks-describe",
    "decontaminate": ".phases/decontaminate-*",
    "tokenize": ".phases/tokenize-*/encoded",
}


def started(command: list[str | Path], workers: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *map(str, command), f"execute.workers={workers}"],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def killed(build: subprocess.Popen[bytes]) -> bool:
    """Kill a build with all its processes; returns whether it was still at work."""
    was_running = build.poll() is None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(build.pid, signal.SIGKILL)
    build.wait()
    return was_running


def accounts(dataset: Path) -> dict[str, tuple[int, int]]:
    """Return what went into each phase and came out of it."""
    phases = Manifest.read(dataset).phases
    return {phase["name"]: (phase["documents_in"], phase["documents_out"]) for phase in phases}


def test_a_build_killed_in_every_phase_ends_as_an_undisturbed_one(
    out: Path, dataset: Path, address: str, tmp_path: Path
) -> None:
    command = data_command(out, tmp_path / "data", address)
    for workers, (phase, trace) in enumerate(AT_WORK.items(), start=1):
        build = started(command, workers=1 + workers % 3)
        while not list((tmp_path / "data").glob(trace)) and build.poll() is None:
            time.sleep(0.002)
        assert killed(build)
        assert not (tmp_path / "data" / ".phases" / f"{phase}.json").exists()

    succeeded(*command)

    assert hashes(tmp_path / "data") == hashes(dataset)
    assert accounts(tmp_path / "data") == accounts(dataset)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_builds_killed_at_twenty_random_moments_end_as_an_undisturbed_one(
    out: Path, dataset: Path, address: str, tmp_path: Path
) -> None:
    chance = random.Random(0)
    phases = [json.loads(mark.read_text()) for mark in (dataset / ".phases").glob("*.json")]
    seconds = 2 + sum(phase["seconds"] for phase in phases)  # with the start of the program
    kills = builds = 0
    while kills < 20:
        builds += 1
        command = data_command(out, tmp_path / str(builds), address)
        build = started(command, workers=chance.choice([1, 2, 3]))
        while kills < 20:
            time.sleep(chance.uniform(0, seconds))
            if not killed(build):
                break  # it had come to its end
            kills += 1
            build = started(command, workers=chance.choice([1, 2, 3]))
        assert build.wait() == 0
        assert hashes(tmp_path / str(builds)) == hashes(dataset)
        assert accounts(tmp_path / str(builds)) == accounts(dataset)


@pytest.fixture(scope="module")
def study(out: Path, dataset: Path) -> Path:
    config = out / "study.yaml"
    config.write_text(json.dumps(STUDY))
    succeeded("study", config, f"data={dataset}", f"out={out / 'study'}")
    return out / "study"


def test_the_ladder_is_trained_evaluated_fitted_and_judged(study: Path) -> None:
    verdict = json.loads((study / "verdict.json").read_text())
    choice = json.loads((study / "fits" / "choice.json").read_text())

    assert verdict["summary"]
    assert choice["before_the_largest"]
    assert {path.stem for path in (study / "fits").glob("*.json")} == {
        "choice",
        "log-linear",
        "power",
        "offset-power",
    }
    rows = (study / "points.csv").read_text().splitlines()
    assert rows[0].startswith(
        "name,family,arm,params,params_non_embedding,tokens,unique_tokens,flops,batch_tokens,lr,seed"
    )
    assert len([row for row in rows if "held_out.bits_per_byte" in row]) == 4


def test_points_of_any_study_can_be_fitted(study: Path, tmp_path: Path) -> None:
    where = "metric = 'held_out.bits_per_byte'"
    options = ("--value", "value", "--x", "params_non_embedding", "--where", where, "--hold-out", "largest")
    succeeded("fit", study / "points.csv", "--form", "log-linear", *options, "--out", tmp_path / "fit.json")

    fit = json.loads((tmp_path / "fit.json").read_text())
    assert set(fit["coefficients"]) == {"a", "b"}
    assert len(fit["held_out"]) == 1


def test_a_model_of_the_ladder_samples_and_goes_out_into_the_world(study: Path, tmp_path: Path) -> None:
    run = next(path for path in (study / "runs").iterdir() if path.name.startswith("w32"))

    assert succeeded("sample", run, "Return the", "--tokens", "8", "--top-k", "5").strip()
    succeeded("export", run, "--to", tmp_path / "exported")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "exported")
    ids = AutoTokenizer.from_pretrained(tmp_path / "exported")("Return the", return_tensors="pt").input_ids
    assert model(ids).logits.shape[-1] == 512
    assert "finished" in succeeded("status", run)


def test_the_report_is_one_page_that_asks_for_nothing(out: Path, study: Path) -> None:
    succeeded("report", out)
    page = (out / "report.html").read_text()

    assert "<svg" in page
    assert 'src="http' not in page and 'href="http' not in page.replace(
        'href="http://docs.loglinear.test', ""
    )
