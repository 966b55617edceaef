"""The shape of a GPT, and the counts that follow from it: parameters, FLOPs per token, bytes of weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

# What a paper states and what its code does differ; see `GPTConfig.position_std`.
POSITION_STD_RELEASED = 0.01
LAYER_NORM_EPS = 1e-5  # released code
WEIGHT_STD = 0.02  # released code; the paper of GPT-1 states it too
# No network is a hundredth of it; beyond it the sizes of matrices leave 64 bits.
LARGEST = 1 << 24

Architecture = Literal["gpt2", "gpt1", "lstm"]
FAMILIES: MappingProxyType[Architecture, str] = MappingProxyType(
    {"gpt2": "GPT-2", "gpt1": "GPT-1", "lstm": "LSTM"}
)


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """A GPT: learned positions, tanh GELU, output head tied to the token embedding.

    `architecture` gpt2 (Radford et al., 2019) has each norm before its layer, one more at the end, and scaled
    first weights of the projections into the residual stream. gpt1 (Radford et al., 2018) has each norm after
    the sum with its layer and none at the end, and drops out the embedding matrices themselves, so that the
    tied head loses the same entries. lstm has layers of `n_hidden` LSTM units for blocks (model/lstm.py), and
    neither heads nor positions. `label` is the paper's name for the size, kept because GPT-2's paper
    counted wrongly (its 117M has 124,439,808; GPT-1's has 116,534,784).
    """

    architecture: Architecture = "gpt2"
    n_layer: int
    n_head: int
    n_embd: int
    n_ctx: int = 1024
    vocab_size: int = 50257
    n_hidden: int | None = None
    dropout: float = 0.0
    causal: bool = True
    """Whether a position sees only those before it; without, the network is what BERT is: it fills in."""
    position_std: float = POSITION_STD_RELEASED
    """Standard deviation of the position embedding at the start: 0.01 in GPT-2's released code (the paper is
    silent), 0.02 in GPT-1's paper and code; reproductions of GPT-2 (nanoGPT, llm.c) use 0.02."""
    label: str = ""

    def __post_init__(self) -> None:
        if self.architecture not in get_args(Architecture):
            known = ", ".join(get_args(Architecture))
            raise ValueError(f"architecture is {self.architecture!r}, but must be one of {known}")
        for name in ("n_layer", "n_head", "n_embd", "n_ctx", "vocab_size"):
            if not 1 <= getattr(self, name) <= LARGEST:
                limits = "at least 1" if getattr(self, name) < 1 else f"at most {LARGEST:,}"
                raise ValueError(f"{name} is {getattr(self, name)}, but must be {limits}")
        has_units = self.n_hidden is not None
        if (self.architecture == "lstm") != has_units or (self.n_hidden is not None and self.n_hidden < 1):
            raise ValueError(f"n_hidden is {self.n_hidden}: an lstm has some, no other network has any")
        if self.architecture == "lstm" and not self.causal:
            raise ValueError("causal is false, but an lstm reads from left to right")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd ({self.n_embd}) must be a multiple of n_head ({self.n_head})")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}, but must be at least 0 and below 1")
        if not 0 <= self.position_std < math.inf:
            raise ValueError(f"position_std is {self.position_std}, but must be 0 or more, and finite")


def parameters(config: GPTConfig) -> int:
    """Return the true number of parameters; the tied head counts once."""
    positions = 0 if config.architecture == "lstm" else config.n_ctx
    return parameters_non_embedding(config) + (config.vocab_size + positions) * config.n_embd


def parameters_non_embedding(config: GPTConfig) -> int:
    """Return the parameters of the blocks and the final norm, the N of Kaplan et al. (2020) with biases and
    norms; GPT-2's final norm has 2·d.
    """
    final_norm = 2 * config.n_embd if config.architecture == "gpt2" else 0
    return config.n_layer * parameters_of_block(config) + final_norm


def parameters_of_block(config: GPTConfig) -> int:
    """Return the parameters of a block: two norms (4·d), attention (4·d² + 4·d) and the MLP (8·d² + 5·d).

    An LSTM layer of h units has four gates, of input and state (4·h·d + 4·h² + 8·h), and a projection (h·d).
    """
    d, h = config.n_embd, config.n_hidden or 0
    return 5 * h * d + 4 * h * h + 8 * h if config.architecture == "lstm" else 12 * d * d + 13 * d


def parameters_in_products(config: GPTConfig) -> int:
    """Return the weights that take part in a matrix product for every token: the blocks' and the head's."""
    d, h = config.n_embd, config.n_hidden or 0
    block = 5 * h * d + 4 * h * h if config.architecture == "lstm" else 12 * d * d
    return config.n_layer * block + config.vocab_size * d


FlopsFormula = Literal["6N", "6N_matmul + 6LdT", "6N_matmul + 12LdT"]


def flops_per_token(
    config: GPTConfig, sequence_tokens: int, formula: FlopsFormula = "6N_matmul + 6LdT"
) -> int:
    """Return the FLOPs of training on one token, forward and backward, by a named formula.

    `6N` is the shorthand of Kaplan and Chinchilla, N being all parameters. The other two count the products
    that are computed (2 forward and 4 backward a weight) and attention, which needs half its square when it
    is causal (`6N_matmul + 6LdT`, Megatron-LM's) and all of it by the older custom (`6N_matmul + 12LdT`,
    PaLM, appendix B).
    """
    return FLOPS_FORMULAS[formula](config, sequence_tokens)


def _attention_flops(config: GPTConfig, sequence_tokens: int) -> int:
    return 0 if config.architecture == "lstm" else config.n_layer * config.n_embd * sequence_tokens


FLOPS_FORMULAS: MappingProxyType[FlopsFormula, Callable[[GPTConfig, int], int]] = MappingProxyType(
    {
        "6N": lambda config, _: 6 * parameters(config),
        "6N_matmul + 6LdT": lambda config, T: (
            6 * parameters_in_products(config) + 6 * _attention_flops(config, T)
        ),
        "6N_matmul + 12LdT": lambda config, T: (
            6 * parameters_in_products(config) + 12 * _attention_flops(config, T)
        ),
    }
)


def describe(config: GPTConfig) -> str:
    """Return both names of a size and its shape: `GPT-2 117M (124,439,808 parameters; 12 layers, …)`."""
    count = f"{parameters(config):,} parameters"
    shape = f"{config.n_layer} layers, {config.n_head} heads, width {config.n_embd}, context {config.n_ctx:,}"
    shape = f"{shape}, vocabulary {config.vocab_size:,}"
    name = f"{FAMILIES[config.architecture]} {config.label}".rstrip()
    return f"{name} ({count}; {shape})"
