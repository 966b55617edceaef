"""What a checkpoint costs a training run on a CPU: the stall when it is written, the start when it is read.

    python -m benchmarks.checkpoint [--steps 20] [--accumulation 8] [--sequences 8] [--tokens 256]
        [--rounds N] [--threads N] [--only stall|resume] [--runs N] [--folder DIR] [--out FILE.json]

GPT-2 117M, engine `single`, fp32. The stall is the wall time that so many steps lose to one asynchronous save
of ours, and to one `torch.save` of the same tensors in the training thread, each against steps without one. A
pass that overlaps with a save is held to the median of those at the same place of a step that do not: so the
noise of minutes does not cover a second. Ours also sums and fsyncs what it writes, and writes the weights
once more in Hugging Face's layout; `torch.save` does neither.

The resume is the real command on a run that was killed: from its start to the end of its first new step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import resuming
from benchmarks.training.machine import machine
from model import tokenizer
from model.config import GPTConfig
from model.transformer import GPT
from pipeline.composition import compose
from pipeline.formats.checkpoint import Meta
from pipeline.formats.run import RunWriter, writing
from pipeline.trainer.checkpoints import Keeping, Saver
from pipeline.trainer.engine import NextToken, Tokens
from pipeline.trainer.engines import single
from pipeline.trainer.hardware import keep_freed_memory
from pipeline.trainer.optim import MOMENTS, AdamW
from pipeline.trainer.state import write_model

MODEL = Path(__file__).parents[1] / "configs" / "model" / "gpt2-117m.yaml"
GOAL = 0.35
SETTLING = 1  # passes after the last byte is written: the system still has work with it
LR = 1e-4


class Clocked(NextToken):
    """The next-token loss, which notes when each pass begins."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[float] = []

    def sums(self, model: nn.Module, batch: Tokens) -> dict[str, Tensor]:
        """Return the summed cross-entropy."""
        self.begun.append(time.perf_counter())
        return super().sums(model, batch)


@dataclass(frozen=True)
class Turn:
    """Some steps with a save after the first: seconds of each pass, how many from the save on were touched by
    it, and what the training thread itself waited for.
    """

    passes: list[float]
    touched: int
    blocked: float


class Training:
    """Steps of the network on the same batches, again and again."""

    def __init__(self, config: GPTConfig, accumulation: int, sequences: int, tokens: int):
        torch.manual_seed(0)
        self.network, self.clock, self.accumulation = GPT(config), Clocked(), accumulation
        self.engine = single.Config(device="cpu").build(self.network, AdamW(lr=LR), self.clock, "fp32")
        shape = (accumulation, sequences, tokens + 1)
        ids = torch.randint(0, config.vocab_size, shape)
        self._batches = [Tokens(part[:, :-1].contiguous(), part[:, 1:].contiguous()) for part in ids]
        self.engine.train_step(self._batches, LR)  # memory and kernels are ready after it

    def turn(
        self, steps: int, save: Callable[[], object], poll: Callable[[], object], written: Callable[[], float]
    ) -> Turn:
        """Take steps and save after the first; `written` tells for how long the save was being written."""
        self.clock.begun.clear()
        for step in range(steps):
            self.engine.train_step(self._batches, LR)
            poll()
            if step == 0:
                begun = time.perf_counter()
                save()
                blocked = time.perf_counter() - begun
        times = [*self.clock.begun, time.perf_counter()]
        poll()
        passes = [end - begin for begin, end in zip(times, times[1:], strict=False)]
        seconds = written()
        touched = sum(
            self.accumulation - 1 <= n and time < begun + seconds for n, time in enumerate(times[:-1])
        )
        return Turn(passes, touched + SETTLING if seconds else 0, blocked)

    def tensors(self) -> dict[str, Tensor]:
        """Return weights, and two moments' worth of other memory, by name."""
        weights = {name: parameter.detach() for name, parameter in self.network.named_parameters()}
        moments = {f"{kind}/{name}": tensor.clone() for kind in MOMENTS for name, tensor in weights.items()}
        return weights | moments


def main() -> None:
    """Measure, print, and write the figures as JSON if asked."""
    chosen = arguments()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    found: dict[str, Any] = {"machine": machine(), "goal": GOAL}
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        if chosen.only != "stall":
            found["resume"] = resuming.measure(Path(folder), chosen.runs, chosen.threads)
        if chosen.only != "resume":
            found["stall"] = stall(chosen, Path(folder))
    if chosen.out:
        chosen.out.write_text(json.dumps(found, indent=2) + "\n")


def stall(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the seconds that each way of saving costs, by round, and print them."""
    keep_freed_memory()
    config = GPTConfig(**compose(chosen.model).value)
    training = Training(config, chosen.accumulation, chosen.sequences, chosen.tokens)
    tensors = training.tensors()
    turns: dict[str, list[Turn]] = {"none": [], "ours": [], "torch.save": []}
    for number in range(chosen.rounds):
        nothing = training.turn(chosen.steps, lambda: None, lambda: None, lambda: 0.0)
        with writing(folder / f"{number}") as writer:
            ours = turn_of_ours(training, config, writer, chosen.steps)
        file = folder / f"{number}.pt"
        theirs = turn_of_theirs(training, tensors, file, chosen.steps, ours)
        for name, turn in zip(turns, (nothing, ours, theirs), strict=True):
            turns[name].append(turn)
    usual = usual_passes([turn for found in turns.values() for turn in found], chosen.accumulation)
    lost = {name: [lost_seconds(turn, usual) for turn in turns[name]] for name in ("ours", "torch.save")}
    ratio = statistics.median(
        one / other for one, other in zip(lost["ours"], lost["torch.save"], strict=True)
    )
    tell(turns, lost, usual, ratio)
    return {
        "settings": {
            name: getattr(chosen, name) for name in ("steps", "accumulation", "sequences", "tokens")
        },
        "ratio": ratio,
        "lost_seconds": lost,
        "blocked_seconds": {name: [turn.blocked for turn in turns[name]] for name in lost},
        "pass_seconds": {name: [turn.passes for turn in found] for name, found in turns.items()},
    }


def turn_of_ours(training: Training, config: GPTConfig, writer: RunWriter, steps: int) -> Turn:
    """Take steps with one asynchronous save of ours."""
    gpt2, events = tokenizer.gpt2(), list[Any]()
    saver = Saver(
        training.engine,
        writer,
        Keeping(keep=1, keep_every_steps=None, asynchronous=True),
        lambda at, snapshot: write_model(at, snapshot, config, gpt2),
        events.append,
    )
    meta = Meta(
        step=1, tokens=0, complete=False, engine="single", world_size=1, epoch=1, config_hash="", data_hash=""
    )

    def written() -> float:
        saver.finish()
        return float(events[0]["seconds"] + events[0]["write_seconds"])

    return training.turn(steps, lambda: saver.save(meta), saver.poll, written)


def turn_of_theirs(
    training: Training, tensors: dict[str, Tensor], file: Path, steps: int, ours: Turn
) -> Turn:
    """Take steps with one `torch.save`; held to the usual for as many passes as ours."""
    found = training.turn(steps, lambda: torch.save(tensors, file), lambda: None, lambda: 0.0)
    file.unlink()
    return Turn(found.passes, ours.touched, found.blocked)


def usual_passes(turns: Sequence[Turn], accumulation: int) -> list[float]:
    """Return the median seconds of a pass at each place of a step, of those that no save has touched.

    The last pass of a step has the update in it, and what comes between steps.
    """
    found: list[list[float]] = [[] for _ in range(accumulation)]
    for turn in turns:
        saved = range(accumulation - 1, accumulation - 1 + turn.touched)
        for number, seconds in enumerate(turn.passes):
            if number not in saved:
                found[number % accumulation].append(seconds)
    return [statistics.median(seconds) for seconds in found]


def lost_seconds(turn: Turn, usual: Sequence[float]) -> float:
    """Return what the passes that a save touched took longer than usual, the wait in the save included."""
    accumulation = len(usual)
    touched = list(enumerate(turn.passes))[accumulation - 1 : accumulation - 1 + turn.touched]
    return sum(seconds - usual[number % accumulation] for number, seconds in touched)


def tell(
    turns: dict[str, list[Turn]], lost: dict[str, list[float]], usual: Sequence[float], ratio: float
) -> None:
    """Print what each way of saving costs, and whether the goal is met."""
    without = statistics.median(sum(turn.passes) for turn in turns["none"])
    print(f"steps without a save: {without:.1f} s; a pass {statistics.median(usual):.2f} s")
    for name, seconds in lost.items():
        blocked = statistics.median(turn.blocked for turn in turns[name])
        total = statistics.median(sum(turn.passes) for turn in turns[name])
        print(
            f"{name:12} {statistics.median(seconds):6.2f} s lost, {blocked:.2f} of them blocked, over"
            f" {turns[name][0].touched} passes; all steps {total:.1f} s"
        )
    print(f"ours / torch.save: {ratio:.2f}, goal {GOAL}: {'met' if 0 <= ratio <= GOAL else 'MISSED'}")


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--accumulation", type=int, default=8, help="passes of a step")
    parser.add_argument("--sequences", type=int, default=8, help="of a pass")
    parser.add_argument("--tokens", type=int, default=256, help="of a sequence")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--model", type=Path, default=MODEL, help="another shape, for the stall")
    parser.add_argument("--threads", type=int, help="compute threads; default: what the environment says")
    parser.add_argument("--only", choices=("stall", "resume"))
    parser.add_argument("--runs", type=int, default=3, help="starts of the resumed run")
    parser.add_argument(
        "--folder", type=Path, help="where checkpoints are written; default: the system's own"
    )
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
