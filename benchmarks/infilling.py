"""What a network that reads from left to right and one that reads from both sides can fill in and write.

    python -m benchmarks.infilling LEFT_TO_RIGHT BIDIRECTIONAL --data DATASET [--windows N] [--out FILE.json]

Both are runs (or checkpoints) on the same dataset. At the same places of held-out windows the first predicts
a token from those before it; the second once as it was trained, with 15 % of the window masked and both sides
shown, and once with nothing shown after the place, which is what it would have to write from. Then both
continue the same prompts greedily, the second by filling in a mask at the end again and again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from model import tokenizer as tokenizers
from model.tokenizer import Tokenizer
from model.transformer import GPT
from model.weights import load_network
from pipeline.formats.manifest import Manifest
from pipeline.formats.subject import locate
from pipeline.train.sampler import Windows
from pipeline.train.stage import SPECIAL_IDS

PREDICTED = 0.15  # as in pre-training
ALONE = 4  # places of a window that are also predicted from the left alone by the bidirectional network
PROMPT, PROMPTS = 32, 20  # tokens, as many of which are written, and texts
SPLIT = "validation"

Ids = list[int]


@dataclass(frozen=True)
class Pair:
    """Both networks, the tokenizer that they share, and the ids that only the second one knows."""

    left: GPT
    both: GPT
    tokenizer: Tokenizer

    @property
    def special(self) -> range:
        """The ids of start, delimiter, extract and mask."""
        return range(self.tokenizer.vocab_size, self.tokenizer.vocab_size + SPECIAL_IDS)

    @torch.no_grad()
    def logits(self, network: GPT, ids: Sequence[int], places: Sequence[int]) -> torch.Tensor:
        """Return logits (places, V) of one sequence, of ids of text alone."""
        states = network.hidden(torch.tensor([list(ids)]))[0, list(places)]
        return F.linear(states, network.wte.weight)[:, : self.tokenizer.vocab_size]

    def from_left(self, window: Sequence[int], places: Sequence[int]) -> torch.Tensor:
        """Return the first network's logits of places (all > 0), each seen from before it."""
        return self.logits(self.left, window, [place - 1 for place in places])

    def from_both(self, window: Sequence[int], places: Sequence[int]) -> torch.Tensor:
        """Return the second network's logits of places, all of them masked, as in its pre-training."""
        start, delimiter, extract, mask = self.special
        hidden = {*places}
        text = [mask if place in hidden else id for place, id in enumerate(window)]
        half = len(text) // 2
        whole = [start, *text[:half], delimiter, *text[half:], extract]
        return self.logits(self.both, whole, [place + 1 + (place >= half) for place in places])

    def at_end(self, before: Sequence[int]) -> torch.Tensor:
        """Return the second network's logits (1, V) of the token after a text, with nothing shown behind."""
        return self.from_both([*before, self.special[-1]], [len(before)])


def main() -> None:
    """Measure, print a line for each figure and two texts, write all as JSON if asked."""
    chosen = _arguments()
    left, both = (locate(path).model for path in (chosen.left, chosen.both))
    pair = Pair(load_network(left), load_network(both), tokenizers.load(left))
    if problem := unlike(pair):
        raise SystemExit(f"{chosen.left} and {chosen.both}: {problem}")
    found = measure(pair, chosen.data, chosen.windows, chosen.seed)
    for name, figure in found["accuracy"].items():
        error = "" if figure["stderr"] is None else f" ± {figure['stderr']:.4f}"
        print(
            f"{name:<48}{figure['value']:.4f}{error}  {figure['nats']:.3f} nats  {figure['places']:,} places"
        )
    for name, text in found["written"].items():
        told = f"{text['repeated']:.0%} of its pairs of tokens it had written before"
        print(f"\n{name}, greedy; {told}\n  {text['sample']!r}")
    if chosen.out:
        chosen.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def measure(pair: Pair, data: Path, windows: int, seed: int) -> dict[str, Any]:
    """Return accuracies with their errors over windows, and what both write."""
    n_ctx = min(pair.left.config.n_ctx, pair.both.config.n_ctx) - SPECIAL_IDS
    stream = Windows(data, Manifest.read(data), SPLIT, n_ctx)
    draw = np.random.default_rng(seed)
    chosen = draw.permutation(stream.count)[:windows]
    texts = [window[:-1].tolist() for window in stream.read(chosen)]
    rows: dict[str, list[list[tuple[bool, float]]]] = {}
    for text in texts:
        places = sorted((1 + draw.permutation(n_ctx - 1)[: max(round(PREDICTED * n_ctx), 1)]).tolist())
        few = places[:: -(-len(places) // ALONE)]
        alone = torch.cat([pair.at_end(text[:place]) for place in few])
        for name, logits, at in (
            ("left to right, from the left", pair.from_left(text, places), places),
            ("bidirectional, from both sides", pair.from_both(text, places), places),
            ("left to right, from the left, fewer places", pair.from_left(text, few), few),
            ("bidirectional, from the left, fewer places", alone, few),
        ):
            rows.setdefault(name, []).append(_scored(logits, [text[place] for place in at]))
    return {
        "accuracy": {name: _figure(found) for name, found in rows.items()},
        "written": _written(pair, [text[: min(PROMPT, n_ctx // 2)] for text in texts[:PROMPTS]]),
    }


def unlike(pair: Pair) -> str:
    """Return why two networks cannot be asked the same, empty where they can."""
    if not pair.left.config.causal or pair.both.config.causal:
        return "the first must read from left to right (model.causal: true) and the second from both sides"
    known = pair.tokenizer.vocab_size
    if pair.left.config.vocab_size < known or pair.both.config.vocab_size != known + SPECIAL_IDS:
        return f"the second must know the {known} ids of the first's tokenizer and {SPECIAL_IDS} more"
    return ""


def repeated(text: Ids) -> float:
    """Return the share of neighbours that stood side by side before: what goes in circles has most."""
    pairs = list(zip(text, text[1:], strict=False))
    return 1 - len(set(pairs)) / len(pairs)


def _scored(logits: torch.Tensor, targets: Ids) -> list[tuple[bool, float]]:
    """Return for each target whether it is the likeliest, and its loss in nats."""
    nats = F.cross_entropy(logits, torch.tensor(targets), reduction="none").tolist()
    hits = (logits.argmax(1) == torch.tensor(targets)).tolist()
    return list(zip(hits, nats, strict=True))


def _figure(of_windows: Sequence[Sequence[tuple[bool, float]]]) -> dict[str, Any]:
    """Return accuracy, its standard error over windows, and mean loss."""
    shares = [statistics.fmean(hit for hit, _ in window) for window in of_windows]
    several = len(shares) > 1
    return {
        "value": statistics.fmean(shares),
        "stderr": statistics.stdev(shares) / math.sqrt(len(shares)) if several else None,
        "nats": statistics.fmean(nats for window in of_windows for _, nats in window),
        "places": sum(map(len, of_windows)),
    }


def _written(pair: Pair, prompts: Sequence[Ids]) -> dict[str, dict[str, Any]]:
    """Return what each network writes after the prompts, and how much of it goes in circles."""
    found = {}
    for name, following in (
        ("left to right", lambda ids: pair.from_left([*ids, 0], [len(ids)])),
        ("bidirectional", pair.at_end),
    ):
        texts = []
        for prompt in prompts:
            ids = list(prompt)
            for _ in prompt:
                ids.append(int(following(ids).argmax()))
            texts.append(ids[len(prompt) :])
        found[name] = {
            "repeated": statistics.fmean(map(repeated, texts)),
            "sample": pair.tokenizer.decode([*prompts[0], *texts[0]]),
        }
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("left", type=Path, metavar="LEFT_TO_RIGHT", help="run or checkpoint")
    parser.add_argument("both", type=Path, metavar="BIDIRECTIONAL", help="run or checkpoint")
    parser.add_argument("--data", type=Path, required=True, help="the dataset of both")
    parser.add_argument("--windows", type=int, default=200, help="held-out windows")
    parser.add_argument("--seed", type=int, default=0, help="of windows and places")
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
