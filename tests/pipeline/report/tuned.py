"""A fine-tuning and a comparison in the real formats, with invented figures."""

import json
from pathlib import Path
from typing import Any

from pipeline.formats.publish import write_json
from pipeline.formats.results import write_records
from pipeline.formats.summary import Figure, Summary
from pipeline.study.compared import Comparison, compared
from pipeline.study.trial_plan import FineTuning
from pipeline.study.trials import Trial

PAPER = {"GPT-1": 0.454, "no pre-training": 0.189}


def figure(*values: float, metric: str = "matthews", split: str = "validation", **more: Any) -> Figure:
    return Figure(
        split=split,
        metric=metric,
        values={str(seed): value for seed, value in enumerate(values)},
        median=sorted(values)[len(values) // 2],
        mean=sum(values) / len(values),
        sd=0.01 if len(values) > 1 else None,
        stderr=0.03,
        num_examples=4,
        chance=more.get("chance"),
        paper=more.get("paper", {}),
    )


def finetuning(folder: Path, *values: float, finished: bool = True, text: str = "a\tline") -> Path:
    """Write a fine-tuning with a seed for each value, which all get example 0 wrong and 3 right."""
    data = folder / "dev.tsv"
    for seed, value in enumerate(values):
        run = folder / f"seed-{seed}"
        run.mkdir(parents=True)
        rows = [{"step": n, "epoch": n / 4, "loss": 2 - n / 9} for n in range(1, 9)]
        rows += [{"step": n, "epoch": n / 4, "validation_matthews": value} for n in (4, 8)]
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        head = run / "checkpoints" / "step-00000008" / "model" / "head.json"
        head.parent.mkdir(parents=True)
        head.write_text(json.dumps({"labels": ["unacceptable", "acceptable"]}))
        told = [1, seed % 2, 1, 1]
        records = [
            {"number": n, "id": str(n), "place": f"{data}:{n + 1}", "label": n // 2, "prediction": told[n],
             "nats": 2.0 - n / 4, "log_probabilities": []}
            for n in range(4)
        ]  # fmt: skip
        write_records(run / "results" / "step-00000008" / "validation.jsonl.zst", records)
    data.write_text(f"{text}\n" * 4)
    if finished:
        figures = (figure(*values, paper=PAPER, chance=0.0), figure(*values, metric="loss"))
        Summary(task="finetune/cola", config_hash="x", inputs={}, figures=figures).write(folder)
    return folder


def comparison(folder: Path, layers: bool = False) -> Comparison:
    """Write a comparison of three trials on two datasets, the last of them at chance on one."""
    names = ("full", "none", "half")
    values = {"full": (0.41, 0.45), "none": (0.01, 0.02), "half": (0.3, 0.32)}
    trials = [
        Trial(name=n, checkpoint="x", finetune={"transferred_layers": k} if layers else {}, paper="GPT-1")
        for k, n in enumerate(names)
    ]
    jobs, summaries = [], {}
    for trial in trials:
        for dataset, metric in (("cola", "matthews"), ("race", "accuracy")):
            name = f"{trial.name}-{dataset}"
            jobs.append(
                FineTuning(
                    name=name,
                    trial=trial.name,
                    dataset=dataset,
                    metric=metric,
                    checkpoint="x",
                    training=None,
                    seeds=(0, 1),
                    steps=8,
                    tokens=80,
                    flops=1e9,
                    finetune=dict(trial.finetune),
                )  # fmt: skip
            )
            chance = 0.25 if metric == "accuracy" else 0.0
            found = figure(*values[trial.name], metric=metric, chance=chance, paper=PAPER)
            summaries[name] = Summary(task="", config_hash="", inputs={}, figures=(found,))
    found = compared(jobs, summaries, trials)
    write_json(folder / "comparison.json", {"written": "now", "failures": {"x": 1}, **found.as_json()})
    plan = {"finetunings": [{"trial": job.trial, "finetune": job.finetune} for job in jobs]}
    write_json(folder / "plan.json", plan)
    return found
