"""The networks of GPT-1 and GPT-2, with GPT-2's published parameter names: wte wpe h ln_1 attn.c_attn
attn.c_proj ln_2 mlp.c_fc ln_f.

Letters in shapes: B sequences, T positions, C = n_embd, H heads, D = C / H, V ids. Matrices are (out, in), as
torch has them; `weights` turns them for the published layout, which is (in, out).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it
from torch.utils.checkpoint import checkpoint

from model import fused
from model.attention import Mask, attend, document_mask
from model.config import LAYER_NORM_EPS, WEIGHT_STD, GPTConfig
from model.heads import next_token_loss, token_losses
from model.lstm import RecurrentBlock
from model.operators import causal_attention, gelu, heads


class GPT(nn.Module):
    """A GPT-1 or GPT-2, as `config.architecture` says.

    Initialised from torch's global generator, so `torch.manual_seed` beforehand decides the weights; with
    `initialised` false they are whatever the memory held, for those who load weights next.
    """

    checkpoint_activations = False
    """Whether training computes each block again in the backward pass instead of keeping its activations."""

    def __init__(self, config: GPTConfig, initialised: bool = True):
        super().__init__()
        self.config = config
        self.wte = Embedding(config.vocab_size, config.n_embd)
        if config.architecture != "lstm":
            self.wpe = Embedding(config.n_ctx, config.n_embd)
        self.drop = nn.Dropout(config.dropout)
        block = {"gpt2": PreNormBlock, "gpt1": PostNormBlock, "lstm": RecurrentBlock}[config.architecture]
        self.h = nn.ModuleList(block(config) for _ in range(config.n_layer))
        if config.architecture == "gpt2":
            self.ln_f = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPS)
        if initialised:
            self.initialise()

    def forward(self, ids: Tensor, targets: Tensor | None = None, documents: Tensor | None = None) -> Tensor:
        """Return logits (B, T, V); with targets (B, T), the loss in nats summed over those not -100.

        `documents` (B, T) numbers the document of each position, and attention then stays inside a document.
        """
        mask = None if documents is None else document_mask(documents, self._attention_dropout())
        tokens, positions = self._matrices()
        hidden = self._states(ids, tokens, positions, mask=mask)
        if targets is None:
            return F.linear(hidden, tokens)
        return next_token_loss(hidden, tokens, targets)

    def states_and_loss(
        self, ids: Tensor, targets: Tensor, shares: Tensor, mask: Mask | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the states (B, T, C) and the loss in nats, summed over targets (B, T) times their shares.

        Both are of one pass: where dropout is on the embedding matrices, they have lost the same entries.
        """
        tokens, positions = self._matrices()
        states = self._states(ids, tokens, positions, mask=mask)
        return states, next_token_loss(states, tokens, targets, shares)

    @torch.no_grad()
    def losses(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Return the loss in nats of every target (B, T), 0 where it is -100; without gradients."""
        return token_losses(self.hidden(ids), self.wte.weight, targets)

    def hidden(
        self,
        ids: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Sequence[LayerCache] | None = None,
    ) -> Tensor:
        """Return the states (B, T, C) of ids (B, T) that the head takes to logits.

        Without a cache, positions are 0 to T - 1 and attention is causal. With one, `ids` follow what it
        holds and it grows by them; `positions` (B, T) and `mask` (B, 1, T, S), True where one of T may look
        at one of all S, then say what is where (no mask: every id sees everything held, which is right for
        one new id).
        """
        return self._states(ids, *self._matrices(), positions, mask, cache)

    def _states(
        self,
        ids: Tensor,
        token_matrix: Tensor,
        position_matrix: Tensor | None,
        positions: Tensor | None = None,
        mask: Mask | None = None,
        cache: Sequence[LayerCache] | None = None,
    ) -> Tensor:
        x = F.embedding(ids, token_matrix)  # (B, T, C)
        if position_matrix is not None:
            if positions is None:
                positions = torch.arange(ids.shape[1], device=ids.device)
            x = x + F.embedding(positions, position_matrix)
        if self.config.architecture != "gpt1":
            x = self.drop(x)
        again = self.checkpoint_activations and self.training
        for index, block in enumerate(self.h):
            if again:
                x = cast(Tensor, checkpoint(block, x, mask, use_reentrant=False))
            else:
                x = block(x, mask, cache[index] if cache else None)
        return cast(Tensor, self.ln_f(x)) if self.config.architecture == "gpt2" else x

    def _matrices(self) -> tuple[Tensor, Tensor | None]:
        """Return the matrices of tokens (V, C) and positions (n_ctx, C), None where there are no positions.

        GPT-1 keeps both in one matrix and drops out its entries, for the embedding and the tied head alike
        (released code, train.py: `we = dropout(we, embd_pdrop, train)`).
        """
        if self.config.architecture == "gpt1" and self.training:
            return self.drop(self.wte.weight), self.drop(self.wpe.weight)
        return self.wte.weight, None if self.config.architecture == "lstm" else self.wpe.weight

    def _attention_dropout(self) -> float:
        return self.config.dropout if self.training else 0.0

    @torch.no_grad()
    def initialise(self) -> None:
        """Draw every parameter anew, in the order of their names' definition.

        Matrices N(0, 0.02), positions N(0, `position_std`), biases 0, norms 1 as released. In GPT-2,
        projections back into the residual stream are scaled by 1/sqrt(N), N = 2 · n_layer such projections
        (the paper, section 2.3); in GPT-1 "a simple weight initialization of N(0, 0.02) was sufficient" (the
        paper, section 4.1).
        """
        scaled = self.config.architecture == "gpt2"
        residual_std = WEIGHT_STD / math.sqrt(2 * self.config.n_layer) if scaled else WEIGHT_STD
        for name, parameter in self.named_parameters():
            if name == "wpe.weight":
                parameter.normal_(std=self.config.position_std)
            elif name.endswith("c_proj.weight"):
                parameter.normal_(std=residual_std)
            elif parameter.ndim == 2:
                parameter.normal_(std=WEIGHT_STD)
            else:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)


class Block(nn.Module):
    """The parts of a block; where the norms stand is the architecture's."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPS)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPS)
        self.mlp = MLP(config)
        self.parts = tuple(self.modules())[1:]


class PreNormBlock(Block):
    """GPT-2's: attention, then the MLP, each behind a norm and added to the residual stream."""

    def forward(self, x: Tensor, mask: Mask | None = None, cache: LayerCache | None = None) -> Tensor:
        """Return the residual stream (B, T, C) after this block."""
        if self.attn.causal and mask is None and cache is None and fused.serves(self, x):
            return fused.pre_norm_block(self, x)
        x = x + self.attn(self.ln_1(x), mask, cache)
        return x + cast(Tensor, self.mlp(self.ln_2(x)))


class PostNormBlock(Block):
    """GPT-1's: attention, then the MLP, each added to its input and the sum normed."""

    def forward(self, x: Tensor, mask: Mask | None = None, cache: LayerCache | None = None) -> Tensor:
        """Return the normed states (B, T, C) after this block."""
        x = self.ln_1(x + self.attn(x, mask, cache))
        return cast(Tensor, self.ln_2(x + self.mlp(x)))


class Attention(nn.Module):
    """Self-attention with H heads, causal or not as `config.causal` says."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.n_head, self.causal = config.n_head, config.causal
        self.c_attn = Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = Linear(config.n_embd, config.n_embd)
        self.dropout = config.dropout
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Mask | None = None, cache: LayerCache | None = None) -> Tensor:
        """Return what each position gathers from those that it sees (B, T, C)."""
        qkv = self.c_attn(x)  # (B, T, 3C)
        dropout = self.dropout if self.training else 0.0
        if self.causal and mask is None and cache is None and not dropout:
            y = causal_attention(qkv, self.n_head)
        else:
            q, k, v = heads(qkv, self.n_head)  # (B, H, T, D)
            if cache is not None:
                k, v = cache.extend(k, v)  # (B, H, S, D)
            causal = self.causal and cache is None
            y = attend(q, k, v, mask, dropout, causal).transpose(1, 2).flatten(2)
        projected: Tensor = self.drop(self.c_proj(y))
        return projected


class MLP(nn.Module):
    """Two layers with GPT-2's tanh approximation of GELU between them."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.c_fc = Linear(config.n_embd, 4 * config.n_embd)
        self.c_proj = Linear(4 * config.n_embd, config.n_embd)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return each position's own transformation (B, T, C)."""
        projected: Tensor = self.drop(self.c_proj(gelu(self.c_fc(x))))
        return projected


class Linear(nn.Linear):
    """A linear layer that leaves its first weights to `GPT.initialise`; torch would draw them all twice."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class Embedding(nn.Embedding):
    """An embedding that leaves its first weights to `GPT.initialise`."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class LayerCache:
    """One layer's keys and values of the positions so far, with room for `length`, on `like`'s device."""

    def __init__(self, config: GPTConfig, batch: int, length: int, like: Tensor):
        head_size = config.n_embd // config.n_head
        self._held = like.new_empty(2, batch, config.n_head, length, head_size)
        self.filled = 0

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append (B, H, T, D) and return everything held (B, H, S, D)."""
        end = self.filled + keys.shape[2]
        self._held[0, :, :, self.filled : end] = keys
        self._held[1, :, :, self.filled : end] = values
        self.filled = end
        return self._held[0, :, :, :end], self._held[1, :, :, :end]
