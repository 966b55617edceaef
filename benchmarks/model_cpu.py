"""Forward and backward passes of our GPT against a plain PyTorch GPT and transformers' GPT-2, on one thread.

Same weights, batch and precision (fp32), all eager. The contenders take turns and are timed by the process's
own clock, so that a busy machine slows all alike; each ratio is the median of the ratios of single rounds.

    python benchmarks/model_cpu.py [--rounds N] [--out FILE.json]
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

THREADS = 1
# Else glibc returns freed activations to the kernel at every step, which slows all alike.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(1 << 28),
}
SEQUENCES, TOKENS, IDS = 4, 256, 4096
SHAPES = ((3, 2, 24), (3, 2, 32), (4, 2, 48), (4, 4, 64), (4, 4, 96), (4, 4, 128), (5, 5, 160))
LEAST_SECONDS = 0.2


def main() -> None:
    """Measure every shape, print a table and write it as JSON if asked."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--out", type=Path)
    chosen = arguments.parse_args()
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    rows = []
    print("layers width  non-embedding  ours tokens/s  / plain / transformers")
    for shape in SHAPES:
        rows.append(measure(*shape, chosen.rounds))
        row = rows[-1]
        print(
            f"{row['n_layer']:>6} {row['n_embd']:>5} {row['parameters_non_embedding']:>14,} "
            f"{row['tokens_per_second']['ours']:>14,.0f} {row['ratio']['plain']:>8.2f} "
            f"{row['ratio']['transformers']:>14.2f}",
            flush=True,
        )
    if chosen.out:
        chosen.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")


def measure(n_layer: int, n_head: int, n_embd: int, rounds: int) -> dict[str, object]:
    """Return one shape's tokens per second by contender, and ours over each other's."""
    import torch

    from model.config import GPTConfig, parameters_non_embedding

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    config = GPTConfig(n_layer=n_layer, n_head=n_head, n_embd=n_embd, n_ctx=TOKENS, vocab_size=IDS)
    passes = contenders(config)
    agree(passes)
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(rounds):
        for name, one_pass in passes.items():
            seconds[name].append(timed(one_pass))
    ratios = {
        name: statistics.median(
            theirs / ours for theirs, ours in zip(seconds[name], seconds["ours"], strict=True)
        )
        for name in passes
        if name != "ours"
    }
    return {
        "n_layer": n_layer,
        "n_head": n_head,
        "n_embd": n_embd,
        "parameters_non_embedding": parameters_non_embedding(config),
        "batch": [SEQUENCES, TOKENS],
        "tokens_per_second": {
            name: SEQUENCES * TOKENS / statistics.median(taken) for name, taken in seconds.items()
        },
        "ratio": ratios,
    }


def contenders(config: "GPTConfig") -> Mapping[str, Callable[[], float]]:  # noqa: F821 - imported where it is made
    """Return a pass, forward and backward, by name of contender; each gives its loss."""
    import torch
    from torch.nn.functional import cross_entropy
    from transformers import GPT2Config, GPT2LMHeadModel

    from model.transformer import GPT
    from model.weights import to_hugging_face

    ours = GPT(config)
    plain = plain_gpt(config)
    plain.load_state_dict(ours.state_dict())
    shape = {"n_layer": config.n_layer, "n_head": config.n_head, "n_embd": config.n_embd}
    rates = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    theirs = GPT2LMHeadModel(
        GPT2Config(
            **shape, **rates, n_positions=TOKENS, vocab_size=IDS, eos_token_id=0, attn_implementation="sdpa"
        )
    )
    state = {f"transformer.{name}": tensor for name, tensor in to_hugging_face(ours.state_dict()).items()}
    theirs.load_state_dict(state, strict=False)
    theirs.tie_weights()
    ids = torch.randint(0, IDS, (SEQUENCES, TOKENS + 1))
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()

    def learn(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], float]:
        def one_pass() -> float:
            value = loss()
            value.backward()
            for parameter in model.parameters():
                parameter.grad = None
            return value.item()

        return one_pass

    def over_logits(logits: torch.Tensor) -> torch.Tensor:
        return cross_entropy(logits.view(-1, IDS), targets.view(-1))

    return {
        "ours": learn(ours, lambda: ours(inputs, targets) / targets.numel()),
        "plain": learn(plain, lambda: over_logits(plain(inputs))),
        "transformers": learn(theirs, lambda: over_logits(theirs(inputs).logits)),
    }


def plain_gpt(config: "GPTConfig") -> "torch.nn.Module":  # noqa: F821 - imported where it is made
    """Return the GPT-2 that one would write on a page of PyTorch: whole logits, no tricks."""
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812 - everybody's name for it

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
            self.c_proj = nn.Linear(config.n_embd, config.n_embd)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            B, T, C = x.shape
            q, k, v = (
                part.view(B, T, config.n_head, -1).transpose(1, 2) for part in self.c_attn(x).split(C, dim=2)
            )
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.c_proj(y.transpose(1, 2).reshape(B, T, C))

    class MLP(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
            self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.attn = nn.LayerNorm(config.n_embd), Attention()
            self.ln_2, self.mlp = nn.LayerNorm(config.n_embd), MLP()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x + self.attn(self.ln_1(x))
            return x + self.mlp(self.ln_2(x))

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte = nn.Embedding(config.vocab_size, config.n_embd)
            self.wpe = nn.Embedding(config.n_ctx, config.n_embd)
            self.h = nn.Sequential(*(Block() for _ in range(config.n_layer)))
            self.ln_f = nn.LayerNorm(config.n_embd)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
            return self.ln_f(self.h(x)) @ self.wte.weight.t()

    return Plain()


def agree(passes: Mapping[str, Callable[[], float]]) -> None:
    """Stop if the contenders do not compute the same loss."""
    losses = {name: one_pass() for name, one_pass in passes.items()}
    if max(losses.values()) - min(losses.values()) > 1e-4:
        sys.exit(f"the contenders differ: {losses}")


def timed(one_pass: Callable[[], float]) -> float:
    """Return the seconds of one pass, from as many as take long enough to measure."""
    start, passes = time.process_time(), 0
    while time.process_time() - start < LEAST_SECONDS:
        one_pass()
        passes += 1
    return (time.process_time() - start) / passes


def machine() -> dict[str, object]:
    """Return what the figures were taken on."""
    import torch
    import transformers

    return {
        "date": time.strftime("%Y-%m-%d"),
        "platform": platform.platform(),
        "cpu": next(
            (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").open() if "model name" in line), ""
        ),
        "threads": THREADS,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


if __name__ == "__main__":
    main()
