"""A pretrained network with a linear head on its last state, as GPT-1's paper fine-tunes one.

Letters in shapes: B examples, K sequences of each (1 for a text; 2 for a pair in both orders; one for each
answer to a question), T positions, C width of the network. Each sequence ends with an extract token, whose
state is what a head reads.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from model.config import WEIGHT_STD
from model.heads import IGNORED
from model.transformer import GPT, Linear

Reading = Literal["text", "orders", "answers", "spans"]
CLASSIFIER_DROPOUT = 0.1  # paper (GPT-1, section 4.1)


class FineTuned(nn.Module):
    """Scores of the classes of a text, of a pair read in both orders, of answers, or of an answer's ends.

    `reading` says what the head takes (the paper's Figure 1): the state of the extract token ("text"); the
    sum of those of both orders ("orders"); each answer's, whose scores are compared ("answers", one output);
    or the state of every position, for first and last position of an answer ("spans", two outputs).
    """

    def __init__(self, body: GPT, reading: Reading, outputs: int, dropout: float = CLASSIFIER_DROPOUT):
        super().__init__()
        if reading not in get_args(Reading):
            raise ValueError(f"reading is {reading!r}, but must be one of {', '.join(get_args(Reading))}")
        self.body, self.reading, self.dropout = body, reading, dropout
        self.head = Linear(body.config.n_embd, outputs)
        with torch.no_grad():
            self.head.weight.normal_(std=WEIGHT_STD)  # released code (GPT-1: `clf`)
            self.head.bias.zero_()

    @property
    def checkpoint_activations(self) -> bool:
        """Whether training computes each block again in the backward pass."""
        return self.body.checkpoint_activations

    @checkpoint_activations.setter
    def checkpoint_activations(self, value: bool) -> None:
        self.body.checkpoint_activations = value

    def forward(
        self, ids: Tensor, places: Tensor, targets: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return scores and, with targets (B, K, T), the language model's loss summed over sequences.

        `ids` (B, K, T), of which those after the extract token at `places` (B, K) are padding that nobody
        sees. Scores are (B, outputs); of answers (B, K); of spans (B, T, 2). The loss of a sequence is the
        mean over its own targets (released code, train.py), 0 without any.
        """
        B, K, T = ids.shape
        flat, loss = ids.view(B * K, T), None
        mask = None if self.body.config.causal else _before(places.view(B * K) + 1, T)
        if targets is None:
            states = self.body.hidden(flat, mask=mask)  # (B·K, T, C)
        else:
            states, loss = self.body.states_and_loss(
                flat, targets.view(B * K, T), _shares(targets.view(B * K, T)), mask
            )
        return self._scores(states, places), loss

    def _scores(self, states: Tensor, places: Tensor) -> Tensor:
        if self.reading == "spans":
            found: Tensor = self.head(self._dropped(states))  # (B, T, 2)
            return found
        B, K = places.shape
        rows = torch.arange(B * K, device=places.device)
        read = self._dropped(states[rows, places.view(-1)].view(B, K, -1))  # (B, K, C)
        if self.reading == "orders":
            read = read.sum(1)
        scores: Tensor = self.head(read)
        return scores if self.reading == "orders" else scores.flatten(1)

    def _dropped(self, states: Tensor) -> Tensor:
        """Drop out entries of states (B, K, C), the same for all sequences of an example (released code)."""
        if not (self.training and self.dropout):
            return states
        B, _, C = states.shape
        return states * F.dropout(states.new_ones(B, 1, C), self.dropout)


def _shares(targets: Tensor) -> Tensor:
    """Return one over the number of targets of each sequence (S, T), for all its positions."""
    counts = (targets != IGNORED).sum(1, keepdim=True).clamp(min=1)
    return counts.float().reciprocal().expand_as(targets)


def _before(lengths: Tensor, T: int) -> Tensor:  # noqa: N803 - as in model.transformer
    """Return which of T positions are not padding, (S, 1, 1, T), for sequences of these lengths (S,)."""
    return (torch.arange(T, device=lengths.device) < lengths.unsqueeze(1)).view(len(lengths), 1, 1, T)
