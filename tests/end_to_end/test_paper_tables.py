"""Every task of the GPT-2 paper on its real files, with a ladder model that was really trained."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from model import tokenizer as tokenizers
from pipeline.formats.results import Results, read_records
from tests.pipeline.formats.datasets import write_dataset

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "configs" / "evaluate" / "gpt2-paper.yaml"
VOCABULARY = 1024
STEPS = 60

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


def loglinear(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, real_data) -> Path:
    """A dataset of summaries from an encyclopedia."""
    folder = tmp_path_factory.mktemp("corpus")
    with (real_data / "text" / "wiki_vital_summaries.jsonl").open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line, _ in zip(file, range(600), strict=False)]
    tokenizer = tokenizers.train(texts, VOCABULARY)
    parts = {"train-00000": texts[:540], "validation-00000": texts[540:570], "test-00000": texts[570:]}
    return write_dataset(folder, tokenizer, parts)


@pytest.fixture(scope="module")
def run(tmp_path_factory, corpus) -> Path:
    """A ladder model after a few steps."""
    out = tmp_path_factory.mktemp("runs") / "ladder"
    done = loglinear(
        *("train", ROOT / "configs" / "train" / "ladder.yaml", f"out={out}", f"data={corpus}"),
        *("model.n_layer=2", f"model.vocab_size={VOCABULARY}", f"train_tokens={STEPS * 512}"),
        "schedule.warmup_tokens=5120",
    )
    assert done.returncode == 0, done.stderr
    return out


def evaluated(run, corpus, data, *words) -> tuple[str, Path]:
    done = loglinear(
        *("evaluate", PAPER, f"checkpoint={run}", f"corpus={corpus}", f"data={data}", "device=cpu"), *words
    )
    assert done.returncode == 0, done.stderr
    (results,) = run.glob("results/*")
    return done.stdout + done.stderr, results


def test_all_tasks_run_on_the_real_files_and_those_without_are_named(run, corpus, real_data):
    told, results = evaluated(run, corpus, real_data / "eval", "limit=2")

    found = Results.read(results / "gpt2-paper.json")
    asked = {task["kind"] for task in yaml.safe_load(PAPER.read_text())["tasks"]}
    done, missing = {result.task for result in found.results}, found.origin["missing"]
    assert done | set(missing) == asked and not done & set(missing)
    assert all("get it from" in found.origin["missing"][task] and task in told for task in missing)
    # What the folder of real inputs holds, if only a few rows of it.
    assert done >= {
        "lambada", "cbt_cn", "cbt_ne", "wikitext2", "wikitext103", "enwik8", "one_billion_words", "winograd",
        "coqa", "cnn_dailymail", "wmt14_en_fr", "wmt14_fr_en", "natural_questions", "webtext", "overlap",
    }  # fmt: skip
    for result in found.results:
        assert result.value == result.value and result.value >= 0, result
        # Two turns of one conversation have no error, nor the median of two texts.
        few = result.num_examples == 1 or result.task in ("coqa", "overlap")
        assert result.stderr is not None or few, result
        assert result.protocol and len(result.data_sha256) == 64
    by_metric = {(result.task, result.metric): result for result in found.results if result.subset == "all"}
    assert by_metric["lambada", "perplexity"].paper["117M"] == 35.13
    assert by_metric["cnn_dailymail", "rouge_average"].paper["1542M"] == 21.40
    for task in done:
        numbers = [record["number"] for record in read_records(results / f"{task}.jsonl.zst")]
        assert numbers == list(range(len(numbers))) and numbers


def test_a_generation_is_kept_with_its_score(run, corpus, real_data):
    _, results = evaluated(run, corpus, real_data / "eval", "limit=2")

    summary, translation = (
        read_records(results / f"{task}.jsonl.zst")[0] for task in ("cnn_dailymail", "wmt14_en_fr")
    )
    assert summary["article"] and summary["highlights"] and "rouge_1" in summary["scores"][""]
    assert set(summary["summaries"]) == {"summary", "no_hint", "lead_3", "random_3"}
    assert isinstance(summary["written"], str) and isinstance(summary["written_no_hint"], str)
    assert translation["source"] == "Spectacular Wingsuit Jump Over Bogota"
    assert "sentence_bleu" in translation and "written" in translation
