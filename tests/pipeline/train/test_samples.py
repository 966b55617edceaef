"""Texts drawn while a run trains: what they are, and that nothing else notices them."""

from __future__ import annotations

import pytest
import torch
import yaml

from model.config import GPTConfig
from model.generate import generate
from model.tokenizer import load
from model.transformer import GPT
from pipeline.config import validate
from pipeline.formats.checkpoint import Meta
from pipeline.formats.run import Run
from pipeline.train import stage
from pipeline.train.samples import Samples, SampleWriter
from pipeline.train.stage import Config
from pipeline.trainer.engine import NextToken, StepStats
from pipeline.trainer.engines import single
from pipeline.trainer.optim import AdamW
from pipeline.trainer.steps import Step
from tests.pipeline.trainer.groups import run_ranks

PROMPTS = ["", "the cat sat on"]


def run(values: dict, **changes) -> Run:
    config = validate(Config, {**values, **changes}, "test")
    stage.run(config, stage.plan(config))
    return Run(config.out)


def at(number: int, is_last: bool = False) -> Step:
    stats = StepStats(loss=1.0, grad_norm=1.0, targets=1, applied=True)
    return Step(number, number, 0.1, stats, seconds=1.0, data_seconds=0.0, is_last=is_last)


def build(**settings):
    """Return a small model whose next ids are far from certain, and its engine."""
    torch.manual_seed(3)
    model = GPT(GPTConfig(n_layer=2, n_head=2, n_embd=16, n_ctx=24, vocab_size=300, dropout=0.3))
    with torch.no_grad():
        model.wte.weight.mul_(20)
    engine = single.Config(device="cpu", threads=1, **settings).build(
        model, AdamW(lr=0.1), NextToken(), "fp32"
    )
    return model, engine


def test_a_run_writes_its_samples_beside_its_rows(values):
    found = run(values, samples={"every_steps": 4, "prompts": PROMPTS, "tokens": 5})
    samples = [row for row in found.rows() if row.get("event") == "sample"]

    assert [(row["step"], row["number"], row["prompt"]) for row in samples] == [
        (4, 0, ""), (4, 1, "the cat sat on"), (6, 0, ""), (6, 1, "the cat sat on"),
    ]  # fmt: skip
    assert all(isinstance(row["text"], str) for row in samples)
    assert any(row["text"] for row in samples)


def test_what_is_trained_does_not_know_of_the_samples(values, tmp_path):
    without = run(values, out=str(tmp_path / "without"))
    with_them = run(values, samples={"every_steps": 1, "prompts": PROMPTS, "tokens": 5})
    kept = ("loss", "grad_norm", "lr", "validation_loss", "bits_per_byte")

    curves = [
        [[row.get(name) for name in kept] for row in found.rows() if "event" not in row]
        for found in (without, with_them)
    ]
    sums = [Meta.read(found.checkpoints()[-1]).blake3 for found in (without, with_them)]
    assert curves[0] == curves[1]
    assert len(curves[0]) == 9
    assert {name for name in sums[0] if sums[0][name] != sums[1][name]} == set()


def test_a_greedy_sample_is_what_the_cached_generation_gives(dataset):
    model, engine = build()
    tokenizer = load(dataset)
    samples = Samples(every_steps=1, prompts=PROMPTS, tokens=6, temperature=0)
    rows = SampleWriter(samples, tokenizer, 24, seed=0).rows(engine, at(1))
    model.eval()
    prompts = [[tokenizer.eot_id, *tokenizer.encode(prompt)] for prompt in PROMPTS]
    expected = generate(model, prompts, max_new_tokens=6, stop_ids=[tokenizer.eot_id])

    assert [row["text"] for row in rows] == [tokenizer.decode(ids) for ids in expected]


def test_a_drawn_sample_is_the_same_each_time_and_another_at_each_step(dataset):
    _, engine = build()
    writer = SampleWriter(Samples(every_steps=1, prompts=PROMPTS, tokens=8), load(dataset), 24, seed=5)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again, later = ([row["text"] for row in writer.rows(engine, at(number))] for number in (1, 1, 2))

    assert first == again != later
    assert torch.equal(torch.get_rng_state(), before)


def test_a_prompt_too_long_for_the_context_loses_its_beginning(dataset):
    _, engine = build()
    long = " ".join(PROMPTS * 40)
    writer = SampleWriter(Samples(every_steps=1, prompts=[long], tokens=100), load(dataset), 24, seed=0)

    (row,) = writer.rows(engine, at(1))
    assert row["prompt"] == long


def test_samples_are_drawn_where_they_are_due_and_at_the_end(dataset):
    _, engine = build()
    tokenizer = load(dataset)
    off = SampleWriter(Samples(), tokenizer, 24, seed=0)
    every = SampleWriter(Samples(every_steps=10, tokens=1), tokenizer, 24, seed=0)

    assert off.rows(engine, at(1, is_last=True)) == []
    assert [bool(every.rows(engine, step)) for step in (at(9), at(10), at(11, is_last=True))] == [
        False, True, True,
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("engine", [{"kind": "fsdp2"}, {"kind": "deepspeed", "zero_stage": 3}])
def test_a_model_that_is_spread_over_two_processes_writes_what_a_whole_one_writes(values, tmp_path, engine):
    values["model"]["dropout"] = 0.0
    values["samples"] = {"every_steps": 3, "prompts": PROMPTS, "tokens": 6, "temperature": 0}
    whole = run(values)
    spread = {**values, "out": str(tmp_path / "spread"), "engine": {**engine, "device": "cpu", "threads": 1}}
    file = tmp_path / "spread.yaml"
    file.write_text(yaml.safe_dump(spread))
    run_ranks("pipeline", ["train", str(file)], 2)
    texts = [
        [(row["step"], row["number"], row["text"]) for row in found.rows() if row.get("event") == "sample"]
        for found in (whole, Run(tmp_path / "spread"))
    ]

    assert len(texts[0]) == 4
    assert texts[0] == texts[1]
