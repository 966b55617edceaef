"""LAMBADA and WikiText-2 by our scorer and by lm-eval: examples per second, side by side.

    python -m benchmarks.evaluate --data DIR [--checkpoint DIR] [--passages N] [--articles N]
        [--batch-tokens N] [--device NAME] [--rounds N] [--threads N] [--clock wall|process]
        [--model FILE.yaml] [--out FILE.json]

Both have the same checkpoint, in Hugging Face's layout, in fp32; by default GPT-2's 117M with random weights.
Both go from the rows of a set to its figures: prompts, tokens, passes, scores; ours writes its records too.
The budget is the tokens of one pass, padding included: lm-eval, which takes a number of sequences, gets as
many of the longest as fit. They take turns, and a ratio is the median of those of single rounds; on a machine
with other work the process's own clock is the better one. Figures that differ by more than 1e-4 are an error.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.training.machine import machine
from benchmarks.training.turns import CLOCKS, ratio, take_turns
from model import tokenizer as tokenizers
from model.config import GPTConfig
from model.transformer import GPT
from model.weights import save_model
from pipeline.composition import compose
from pipeline.evaluate.network import load, load_tokenizer
from pipeline.evaluate.scorer import Scorer
from pipeline.evaluate.suite import Suite
from pipeline.evaluate.task import LogLikelihood, Setting, Task
from pipeline.evaluate.tasks import lambada, wikitext2
from pipeline.evaluate.wikitext import pages
from pipeline.formats.subject import locate
from pipeline.trainer.hardware import keep_freed_memory

MODEL = Path(__file__).parents[1] / "configs" / "model" / "gpt2-117m.yaml"
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Contest:
    """A task of ours and one of lm-eval's that give the same figures, by name, and how much faster ours is to
    be."""

    name: str
    task: Task
    rows: Sequence[Mapping[str, str]]
    theirs: str
    figures: Mapping[str, str]
    goal: float

    @property
    def longest(self) -> int:
        """Ids of its longest input."""
        asked = [request for example in self.task.examples() for request in self.task.requests(example)]
        return max(
            len(each.context) + len(each.target) - 1 for each in asked if isinstance(each, LogLikelihood)
        )


def main() -> None:
    """Measure both tasks, print a line for each and write the figures as JSON if asked."""
    chosen = arguments()
    keep_freed_memory()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = chosen.checkpoint or random_checkpoint(Path(folder) / "checkpoint", chosen.model)
        rows = measure(chosen, checkpoint, Path(folder))
    if chosen.out:
        chosen.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")


def measure(chosen: argparse.Namespace, checkpoint: Path, folder: Path) -> list[dict[str, Any]]:
    """Return the examples per second of both for each task."""
    from lm_eval.models.huggingface import HFLM

    subject = locate(checkpoint)
    tokenizer = load_tokenizer(subject)
    network = load(subject, chosen.device, "fp32", tokenizer)
    scorer = Scorer(network, chosen.batch_tokens, tokenizer)
    setting = Setting(data=chosen.data, tokenizer=tokenizer, n_ctx=network.config.n_ctx)
    peer = HFLM(pretrained=str(checkpoint), device=chosen.device, dtype="float32", batch_size=1)
    found = []
    for contest in contests(setting, chosen.passages, chosen.articles):
        peer.batch_size_per_gpu = max(chosen.batch_tokens // contest.longest, 1)
        work = {
            "ours": partial(ours, contest.task, scorer, chosen.batch_tokens),
            "lm-eval": by_lm_eval(contest, peer, folder),
        }
        agree(contest, work["ours"](), work["lm-eval"]())
        seconds = take_turns(work, chosen.rounds, chosen.clock, 0.0)
        found.append(told(contest, seconds, peer.batch_size_per_gpu))
    return found


def contests(setting: Setting, passages: int, articles: int) -> list[Contest]:
    """Return the two tasks over their first rows, both as lm-eval's protocols have them."""
    few, fewer = (dataclasses.replace(setting, limit=limit) for limit in (passages, articles))
    texts = [
        {"text": passage.text + passage.ending} for passage in setting.rows(lambada.SOURCE).rows[:passages]
    ]
    found = pages(setting.rows(wikitext2.SOURCES["raw"]).rows)[:articles]
    return [
        Contest(
            "LAMBADA", lambada.Config().build(few), texts, "lambada/lambada_openai",
            {"accuracy_last_word": "acc", "perplexity": "perplexity"}, goal=2.0,
        ),
        Contest(
            "WikiText-2", wikitext2.Config(text="lm-eval").build(fewer),
            [{"page": page} for page in found], "wikitext/wikitext",
            {"word_perplexity": "word_perplexity", "bits_per_byte": "bits_per_byte"}, goal=1.2,
        ),
    ]  # fmt: skip


def ours(task: Task, scorer: Scorer, batch_tokens: int) -> dict[str, float]:
    """Return a task's figures, as an evaluation takes them."""
    with tempfile.TemporaryDirectory() as folder, Suite(Path(folder), "all") as suite:
        results = suite.run(task, "benchmark", scorer, batch_tokens, "fp32")
    return {result.metric: result.value for result in results}


def by_lm_eval(contest: Contest, network: Any, folder: Path) -> Callable[[], dict[str, float]]:
    """Return what has lm-eval take a task's figures, by its own file with the rows in a local one."""
    import lm_eval
    from lm_eval.evaluator import evaluate
    from lm_eval.tasks import TaskManager

    own = Path(lm_eval.__file__).parent / "tasks" / f"{contest.theirs}.yaml"
    rows, file = folder / f"{own.stem}.jsonl", folder / own.name
    rows.write_text("".join(f"{json.dumps(row)}\n" for row in contest.rows))
    places = dict.fromkeys(("train", "validation", "test"), str(rows))
    data = {"data_files": places, "cache_dir": str(folder / "cache")}
    given = {"include": str(own), "dataset_path": "json", "dataset_name": None, "dataset_kwargs": data}
    file.write_text(yaml.safe_dump(given))
    loaded = TaskManager(include_defaults=False).load([str(file)])

    def run() -> dict[str, float]:
        found = evaluate(network, loaded, bootstrap_iters=0, log_samples=False)
        return {key.partition(",")[0]: value for key, value in found["results"][own.stem].items()}

    return run


def agree(contest: Contest, one: Mapping[str, float], other: Mapping[str, float]) -> None:
    """Raise RuntimeError where the two do not have the same figures."""
    for metric, of_theirs in contest.figures.items():
        if not math.isclose(one[metric], other[of_theirs], rel_tol=TOLERANCE):
            raise RuntimeError(
                f"{contest.name}: {metric} is {one[metric]} here and {other[of_theirs]} by lm-eval; "
                "what differs is not compared"
            )


def told(contest: Contest, seconds: Mapping[str, Sequence[float]], batch_size: int) -> dict[str, Any]:
    """Return a task's row, and print it."""
    examples = len(contest.task.examples())
    times = ratio(list(seconds["lm-eval"]), list(seconds["ours"]))
    speed = {name: examples / statistics.median(taken) for name, taken in seconds.items()}
    verdict = "met" if times >= contest.goal else "MISSED"
    speeds = ", ".join(f"{name} {per_second:.2f}" for name, per_second in speed.items())
    print(
        f"{contest.name}: {examples} examples of at most {contest.longest} tokens, a second: {speeds} "
        f"({batch_size} at once); {times:.2f} x, goal {contest.goal}: {verdict}",
        flush=True,
    )
    return {
        "name": contest.name,
        "examples": examples,
        "longest": contest.longest,
        "lm_eval_batch_size": batch_size,
        "examples_per_second": speed,
        "seconds": {name: list(taken) for name, taken in seconds.items()},
        "ratio": times,
        "goal": contest.goal,
    }


def random_checkpoint(folder: Path, model: Path) -> Path:
    """Write a GPT-2 of some shape with random weights and the real vocabulary, and return where."""
    config = GPTConfig(**{**compose(model).value, "vocab_size": tokenizers.gpt2().vocab_size})
    torch.manual_seed(0)
    save_model(folder, GPT(config).state_dict(), config, tokenizers.gpt2())
    return folder


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder of evaluation sets")
    parser.add_argument("--checkpoint", type=Path, help="a folder in Hugging Face's GPT-2 layout")
    parser.add_argument("--model", type=Path, default=MODEL, help="another shape, without --checkpoint")
    parser.add_argument("--passages", type=int, default=500, help="of LAMBADA")
    parser.add_argument("--articles", type=int, default=10, help="of WikiText-2")
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="compute threads; default: what the environment says")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall", help="process: CPU time")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
