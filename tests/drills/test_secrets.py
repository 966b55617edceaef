"""R18: a key, token or password stands in nothing that is written, wherever it came in.

Real short runs with planted secrets in the environment, and every byte that they leave is looked through.
"""

from __future__ import annotations

import bz2
import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
from backports import zstd

from launch.launcher import Job
from launch.launchers import local, torchrun
from launch.secrets import fault_in, redacted
from pipeline.config import Kind
from tests.drills.commands import command, make_dataset, run_values, write_yaml
from tests.pipeline.data.crawling import Server, crawl, moved, reply

ROOT = Path(__file__).parents[2]
WORDS = "planted secrets in all that is written"
PLANTED = {
    "WANDB_API_KEY": "c0ffee" * 6 + "beef",
    "HF_TOKEN": "hf_PlantedPlantedPlantedPlantedPl",
    "AWS_SECRET_ACCESS_KEY": "Planted/Secret+Access/Key0123456789abcdef",
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANTED00",
    "MY_SERVICE_PASSWORD": "planted-password-of-mine",
    "SOME_CREDENTIAL": "planted-credential-of-mine",
    "GITHUB_TOKEN": "ghp_plantedplantedplantedplanted",
}
IN_ADDRESS = "planted-in-an-address"
PROXY = f"http://somebody:{IN_ADDRESS}@127.0.0.1:1/"
CANARIES = [*PLANTED.values(), IN_ADDRESS]


@pytest.fixture
def planted(monkeypatch) -> dict[str, str]:
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, PROXY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    return PLANTED


def leaks(folder: Path, *said: str) -> list[str]:
    """Return where a secret is found: in files below a folder, in their names, or in what was said."""
    found = [f"said: {text}" for text in said for canary in CANARIES if canary in text]
    for path in sorted(folder.rglob("*")):
        content = plain(path) if path.is_file() else b""
        found += [
            f"{path}: {canary}" for canary in CANARIES if canary.encode() in content or canary in path.name
        ]
    return found


def plain(path: Path) -> bytes:
    """Return what a file holds, packed or not."""
    content = path.read_bytes()
    unpack = {".gz": gzip.decompress, ".zst": zstd.decompress, ".bz2": bz2.decompress}.get(path.suffix)
    return content + (unpack(content) if unpack else b"")


def test_a_search_finds_what_is_there(tmp_path):
    (tmp_path / "a").write_bytes(b"x" + CANARIES[0].encode())
    (tmp_path / "b.gz").write_bytes(gzip.compress(CANARIES[1].encode()))

    assert len(leaks(tmp_path, CANARIES[2])) == 3


@pytest.mark.slow
def test_a_run_with_every_tracker_its_evaluation_and_its_report(planted, tmp_path, drill):
    """Slow, for wandb takes seconds to start; in processes of their own, as a user's are."""
    drill.promise("R18", WORDS)
    data, run = make_dataset(tmp_path / "data"), tmp_path / "run"
    trackers = [{"kind": "tensorboard"}, {"kind": "wandb", "mode": "offline"}]
    values = {**run_values(data, run), "trackers": trackers, "samples": {"every_steps": 2, "tokens": 4}}
    held_out = {"tasks": [{"kind": "held_out", "split": "validation", "tokens": 200}]}
    evaluation = {
        "checkpoint": str(run),
        "data": str(data),
        "suite": "x",
        "out": str(tmp_path / "results"),
        **held_out,
    }
    train, evaluate = write_yaml(tmp_path / "c.yaml", values), write_yaml(tmp_path / "e.yaml", evaluation)

    said = [in_a_process("train", str(train), "--on", str(ROOT / "configs/launch/local.yaml"))]
    said += [in_a_process("evaluate", str(evaluate)), in_a_process("report", str(run))]

    assert list(run.rglob("*.wandb")) and list(run.rglob("events.out.*")) and (run / "report.html").is_file()
    assert leaks(tmp_path, *said) == []


def in_a_process(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *words],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_run_its_logs_its_origin_and_its_report(planted, tmp_path, drill):
    drill.promise("R18", WORDS)
    data, run = make_dataset(tmp_path / "data"), tmp_path / "run"

    ended = command("train", write_yaml(tmp_path / "c.yaml", run_values(data, run)))
    told = [
        command(*words).said
        for words in (["report", run], ["status", run], ["export", run, "--to", run / "x"])
    ]

    assert ended.code == 0, ended.said
    assert (run / "attempts" / "000.json").is_file() and (run / "report.html").is_file()
    assert leaks(tmp_path, ended.said, *told) == []


def test_a_crawl_through_links_and_redirects_with_passwords(planted, tmp_path, drill):
    drill.promise("R18", WORDS)
    with Server() as server:
        server.pages |= {"/a": reply(), "/away": moved(f"http://somebody:{IN_ADDRESS}@two.test/x")}
        crawl(server, tmp_path / "data", ["http://one.test/a", "http://one.test/away"])
        heads = b"".join(server.heads).decode("latin-1")

    assert not any(canary in heads for canary in CANARIES)
    assert leaks(tmp_path) == []


def test_links_with_passwords_are_dropped_and_not_told(planted, tmp_path, drill):
    drill.promise("R18", WORDS)
    (tmp_path / "links.txt").write_text(f"http://one.test/a\nhttp://somebody:{IN_ADDRESS}@one.test/b\n")
    values = {
        "out": str(tmp_path / "data"),
        "links": {"inputs": [str(tmp_path / "links.txt")], "blocklists": []},
    }
    values |= {"from": str(ROOT / "configs/data/webtext.yaml")}

    ended = command("data", write_yaml(tmp_path / "c.yaml", values), "--until", "links")

    assert ended.code == 0, ended.said
    assert leaks(tmp_path / "data", ended.said) == []


IN_CONFIGURATIONS = {
    "of the environment": lambda value: f"project: {value}",
    "in a longer text": lambda value: f"project: x-{value}-y",
    "in a list": lambda value: f"entity: [{value}]",
}


@pytest.mark.parametrize("how", IN_CONFIGURATIONS)
@pytest.mark.parametrize("name", PLANTED)
def test_a_secret_in_a_configuration_is_refused_without_telling_it(planted, tmp_path, drill, how, name):
    drill.promise("R18", WORDS)
    line = IN_CONFIGURATIONS[how](PLANTED[name])
    text = f"out: {tmp_path / 'run'}\ndata: x\ntrackers:\n- kind: wandb\n  {line}\n"
    (tmp_path / "c.yaml").write_text(text)

    ended = command("train", tmp_path / "c.yaml")

    assert ended.code == 2
    assert (
        f"c.yaml:5: trackers.0.{'entity.0' if how == 'in a list' else 'project'}: the value of {name}"
        in ended.said
    )
    assert "wandb login" in ended.said
    assert leaks(tmp_path / "run", ended.said) == []


@pytest.mark.parametrize(
    "word",
    [
        f"data={PLANTED['HF_TOKEN']}",
        f"data=https://somebody:{IN_ADDRESS}@host.test/x",
        "data=hf_abcdefghijklmnopqrstuvwxyz01234567",
        "data=AKIAABCDEFGHIJKLMNOP",
        f"trackers=[{{kind: wandb, entity: {PLANTED['WANDB_API_KEY']}}}]",
        "data='-----BEGIN OPENSSH PRIVATE KEY-----'",
        "data='export WANDB_API_KEY=0123456789abcdef'",
    ],
)
def test_a_secret_on_the_command_line_is_refused_with_the_remedy(planted, tmp_path, drill, word):
    drill.promise("R18", WORDS)
    config = write_yaml(tmp_path / "c.yaml", run_values(tmp_path / "data", tmp_path / "run"))

    ended = command("train", config, word)

    assert ended.code == 2
    assert "would be written down with the configuration; leave it in the environment" in ended.said
    assert leaks(tmp_path, ended.said) == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "text",
    ["data/webtext", "https://data.commoncrawl.org/", "https://example.org/about@us", "user@example.org",
     "export TOKENIZERS_PARALLELISM=false", "HF_TOKEN=$(cat ~/.token)", "runs/sk-1", "s3://bucket/key"],
)  # fmt: skip
def test_what_only_looks_a_little_like_a_secret_is_taken(text, monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/data/webtext.json")

    assert fault_in(text) == ""
    assert redacted(text) == text


def test_the_words_of_an_exception_are_told_without_secrets(planted, tmp_path, drill):
    drill.promise("R18", WORDS)
    failing = (
        "import logging, sys\n"
        "from pipeline import cli\n"
        "from pipeline.errors import StageError\n"
        "def app(**_):\n"
        "    logging.getLogger('loglinear.x').warning('asked %s', sys.argv[2])\n"
        "    raise {'known': StageError, 'own': RuntimeError}[sys.argv[1]](f'asked {sys.argv[2]}')\n"
        "cli.app = app\n"
        "cli.main()\n"
    )
    for kind in ("known", "own"):
        for canary in (PLANTED["WANDB_API_KEY"], PROXY):
            folder = tmp_path / kind
            done = subprocess.run(
                [sys.executable, "-c", failing, kind, canary],
                cwd=ROOT,
                env={**os.environ, "LOGLINEAR_JOB": str(folder), "RANK": "0"},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 1
            assert "asked" in (folder / "rank-0.log").read_text()
            assert "asked" in (folder / "rank-0.json").read_text()
            assert leaks(folder, done.stdout, done.stderr) == []


@pytest.mark.parametrize(
    "kind", [name for name in Kind("launch.launchers").names() if name not in ("slurm", "kubernetes")]
)
def test_a_script_of_a_job_has_none(planted, tmp_path, drill, kind):
    drill.promise("R18", WORDS)
    assert leaks(tmp_path, script(kind, tmp_path)) == []


@pytest.mark.parametrize("kind", ["slurm", "kubernetes"])
def test_a_script_for_a_cluster_has_none(planted, tmp_path, drill, kind):
    drill.promise("R18", WORDS)
    config = write_yaml(tmp_path / "c.yaml", run_values(tmp_path / "data", tmp_path / "run"))

    ended = command("train", config, "--on", ROOT / f"configs/launch/{kind}.yaml", "--dry-run")

    assert ended.code == 0, ended.said
    assert leaks(tmp_path, ended.said) == []


def script(kind: str, folder: Path) -> str:
    job = Job(name="train", argv=("train", "c.yaml"), directory=folder)
    if kind == "deepspeed":
        from launch.launchers import deepspeed

        (folder / "hosts").write_text("node-0 slots=2\nnode-1 slots=2\n")
        return deepspeed.Config(hostfile=str(folder / "hosts")).build().script(job)
    return {"local": local.Config(), "torchrun": torchrun.Config(processes=2)}[kind].build().script(job)
