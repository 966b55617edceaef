"""Small directories in the real formats: a dataset, runs, a study judged by its own rule, a quickstart."""

from __future__ import annotations

import itertools
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from model.config import GPTConfig
from pipeline.config import validate
from pipeline.data.documents import Text, line_of, writing_documents
from pipeline.formats.checkpoint import Meta
from pipeline.formats.manifest import Manifest
from pipeline.formats.publish import write_json, write_text
from pipeline.formats.results import Result, Results, write_records
from pipeline.formats.run import writing
from pipeline.formats.shards import ShardWriter
from pipeline.study import analysis, collect
from pipeline.study import plan as plans
from pipeline.study.config import Config

WIDTHS = (24, 40, 64, 96, 128, 176)
METRIC = "held_out.bits_per_byte"
HOSTILE = "<script>alert('planted')</script><img src=x onerror=alert(1)> & \"quoted\" </pre></details>"


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished quickstart; tests that change it take `quickstart`, a copy."""
    root: Path = tmp_path_factory.mktemp("report") / "quickstart"
    make_dataset(root / "data")
    make_study(root / "study")
    write_json(
        root / "submissions" / "histogram.json", {"0-1": 900, "2": 300, "3-5": 410, "6-10": 200, "11+": 90}
    )
    write_json(root / "site" / "index.json", {"pages": [{"path": f"{n}.html"} for n in range(2200)]})
    losses = [8.3 - 0.11 * step for step in range(20)]
    parity = {
        "steps": 20, "single": losses,
        "deepspeed_zero2_2_processes": [loss + 1e-7 for loss in losses], "largest_difference": 1e-7,
    }  # fmt: skip
    write_json(root / "parity.json", parity)
    stages = [
        {"name": "site", "seconds": 41.2, "peak_memory_bytes": 812_000_000},
        {"name": "data", "seconds": 93.0, "peak_memory_bytes": 1_400_000_000},
        {"name": "study", "seconds": 402.7, "peak_memory_bytes": None},
    ]
    machine = {"platform": "Linux x86_64", "cpus": 2, "memory_bytes": 8_300_000_000}
    environment = {"machine": machine, "versions": {"python": "3.12.4", "torch": "2.13.0"}, "stages": stages}
    write_json(root / "environment.json", {**environment, "total_seconds": 541.0})
    write_json(
        root / "commands.json",
        ["loglinear quickstart --out 'runs/quickstart'", "loglinear report runs/quickstart"],
    )
    return root


@pytest.fixture
def quickstart(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "quickstart")


def make_dataset(directory: Path) -> None:
    """Write a dataset of a few documents whose phases report thousands."""
    phases = [
        _phase("links", 9000, {"below-karma": 5200, "repeat": 300}, 0.8),
        _phase("fetch", 3500, {"robots": 3, "404": 12}, 21.0, bytes=61_000_000),
        _phase("extract", 3485, {"no-text": 5}, 18.7, bytes_out=15_687_693),
        _phase(
            "filter", 3480, {"gopher_quality.few_words": 900, "language.es": 30}, 11.7, bytes_out=14_000_000
        ),
        _phase("dedup", 2550, {"near": 500}, 25.3, bytes_out=9_100_000, paragraphs_removed=87_102),
        _phase("decontaminate", 2050, {"little_left": 10}, 9.3, bytes_out=9_000_000),
        _phase("tokenize", 2040, {}, 20.1, seen=_seen(), tokens=2_900_000),
    ]
    phases[5]["extra"]["overlap"] = {
        "test": {"ngrams": 81_000, "percent_before": 31.25, "percent_after": 0.0}
    }
    splits = {split: (_shard(directory, split),) for split in ("train", "validation", "test")}
    manifest = Manifest(
        tokenizer="bpe-4096", tokenizer_fingerprint="f" * 16, vocab_size=4096, dtype="uint16", eot_id=4095,
        splits=splits,
        text_bytes=dict.fromkeys(splits, 9000), phases=phases, config_hash="c" * 16, code_version="0.1.0",
    )  # fmt: skip
    manifest.write(directory)
    write_text(directory / "config.yaml", "out: data\n")
    _documents(directory / "kept/decontaminate/train/00000.jsonl.zst", "numpy", 40)
    _documents(directory / "dropped/filter/gopher_quality.few_words/00000.jsonl.zst", "scipy", 3)
    _documents(directory / "dropped/dedup/near/00000.jsonl.zst", "pandas", 2, duplicate_of="ab12")
    karma = [3 + n % 40 for n in range(200)]
    urls = [
        f"http://docs.loglinear.test/{('numpy', 'scipy', 'stdlib')[n % 3]}/page{n}.html" for n in range(200)
    ]
    (directory / "links").mkdir()
    pq.write_table(pa.table({"canonical_url": urls, "karma_max": karma}), directory / "links/00000.parquet")


def make_study(directory: Path) -> None:
    """Write a study of six sizes as it is when it is finished."""
    plan = _plan()
    points = [point for run in plan.runs for point in _points(run)]
    write_json(directory / "plan.json", plan.as_json())
    collect.write(directory / "points.csv", points)
    config, fits = _config(), directory / "fits"
    chosen = analysis.commit(points, plan, plan.arms[0], fits, config, is_untrained=True)
    write_json(fits / "choice.json", {**chosen, "written": "2026-01-01T11:58:20+00:00"})
    verdict = analysis.verdict(points, plan, fits, config)
    write_json(
        directory / "verdict.json", {"written": "2026-01-01T12:09:00+00:00", "failures": {}, **verdict}
    )
    for run in plan.runs:
        make_run(directory / "runs" / run.name, run)


def make_run(directory: Path, run: plans.PlannedRun) -> None:
    """Write a finished and evaluated run."""
    with writing(directory) as writer:
        writer.write_config(yaml.safe_dump({**run.train, "out": str(directory)}))
        writer.begin_attempt(
            {
                "started": 1767268800.0,
                "hardware": {"cpu": "a CPU", "cpus": 2},
                "versions": {"python": "3.12.4"},
            }
        )
        for step in range(1, 61):
            tokens = step * run.tokens // 60
            loss = 2.4 + 5 * math.exp(-step / 9) + 200 / run.params_non_embedding**0.6
            writer.append(
                {
                    "step": step,
                    "tokens": tokens,
                    "loss": loss,
                    "tokens_per_second": 9000.0,
                    "memory_bytes": 4e8,
                }
            )
        writer.append(
            {
                "step": 60,
                "tokens": run.tokens,
                "validation_loss": 3.1,
                "validation_stderr": 0.02,
                "bits_per_byte": 1.9,
            }
        )
        meta = Meta(
            step=60, tokens=run.tokens, complete=True, engine="single", world_size=1, epoch=1,
            config_hash=run.config_hash, data_hash="d",
        )  # fmt: skip
        with writer.publishing_checkpoint(meta):
            pass
        writer.end_attempt("finished")
    shared = {"num_examples": 91, "dtype": "float32", "data_sha256": "0" * 64}
    results = [
        Result(
            task=task,
            metric=metric,
            value=p.value or 0.0,
            stderr=p.stderr,
            protocol="whole documents",
            **shared,
        )
        for p in _points(run)
        for task, metric in [p.metric.split(".")]
    ]
    folder = directory / "results" / "step-00000060"
    Results(checkpoint="step-00000060", weights_hash="w", origin={}, results=tuple(results)).write(
        folder / "suite.json"
    )
    write_records(
        folder / "samples.jsonl.zst",
        [{"number": n, "prompt": "Return the" * (n % 2), "text": f" number of {HOSTILE}"} for n in range(6)],
    )


def _plan() -> plans.Plan:
    described = []
    for width, seed in itertools.product(WIDTHS, (0, 1)):
        if seed and width > 96:
            continue
        shape = {"n_layer": 3, "n_head": 2, "n_embd": width, "n_ctx": 256, "vocab_size": 4096}
        base = {"global_batch_tokens": 4096, "sequence_tokens": 256}
        train = plans.complete(
            base,
            model=shape,
            seed=seed,
            lr=round(0.01 * 32 / width, 5),
            tokens=1_200_000,
            warmup_fraction=0.1,
        )
        described.append(
            plans.describe_run(
                train, GPTConfig(**shape), rung=f"w{width}", arm="", data_hash="d", data_tokens=1_000_000
            )
        )
    rule_of_rates = {"base": 0.01, "base_width": 32, "exponent": -1.0}
    identity = {"metric": METRIC, "abscissa": "params_non_embedding", "learning_rate": rule_of_rates}
    return plans.Plan(
        config_hash="c" * 16, identity=identity, data_hash="d",
        created="2026-01-01T11:50:00+00:00", train_tokens=1_200_000, processes=2, threads=1,
        success={"ordered_fraction": 1.0}, measurements={},
        runs=plans.mark_largest(described),
    )  # fmt: skip


def _points(run: plans.PlannedRun) -> list[collect.Point]:
    scatter = float(np.random.default_rng(run.params + run.seed).normal(0, 0.008))
    point = collect.Point(
        name=run.name, family="gpt2", arm=run.arm, params=run.params, flops=run.flops, lr=run.lr,
        seed=run.seed, params_non_embedding=run.params_non_embedding, tokens=run.tokens,
        unique_tokens=run.unique_tokens, batch_tokens=run.batch_tokens, step=60, metric=METRIC, stderr=0.013,
        value=3.9 - 0.31 * math.log10(run.params_non_embedding) + scatter, config_hash=run.config_hash,
    )  # fmt: skip
    word = replace(
        point, metric="last_word.accuracy", value=0.02 + 0.03 * math.log10(run.params), stderr=0.011
    )
    return [point, word]


def _config() -> Config:
    shape = {"n_layer": 3, "n_head": 2}
    values = {
        "out": "study", "data": "data", "metric": METRIC, "tokens": {"count": 1_200_000},
        "train": {"model": {"n_ctx": 256, "vocab_size": 4096}, "global_batch_tokens": 4096},
        "evaluate": {"tasks": [{"kind": "held_out"}]},
        "rungs": [{"name": f"w{w}", "model": {**shape, "n_embd": w}, "seeds": [0]} for w in WIDTHS],
        "learning_rate": {"base": 0.01, "base_width": 32, "exponent": -1.0},
    }  # fmt: skip
    return validate(Config, values, "study.yaml")


def _phase(
    name: str, documents: int, dropped: dict[str, int], seconds: float, **extra: Any
) -> dict[str, Any]:
    kept = documents - sum(dropped.values())
    return {
        "name": name, "documents_in": documents, "documents_out": kept, "dropped": dropped,
        "seconds": seconds, "extra": extra,
    }  # fmt: skip


def _seen() -> dict[str, Any]:
    lengths = {str(2**n): 40 * n for n in range(6, 15)}
    return {"domains": {"loglinear.test": 2040}, "languages": {"en": 2040}, "lengths_in_tokens": lengths}


def _shard(directory: Path, split: str) -> Any:
    (directory / "shards").mkdir(parents=True, exist_ok=True)
    writer = ShardWriter(directory / "shards" / f"{split}-00000.ds", "uint16")
    for _ in range(3):
        writer.write([5] * 999 + [4095])
    return writer.close()


def _documents(path: Path, package: str, number: int, **metadata: Any) -> None:
    with writing_documents(path) as file:
        for n in range(number):
            url = f"http://docs.loglinear.test/{package}/page{n}.html?<b>"
            text = f"{package} documents page {n}.\n{HOSTILE}\n" + "It returns an array. " * 60
            file.write(line_of(Text(text, f"{n:032x}", {"url": url, "karma": 4, **metadata})))
