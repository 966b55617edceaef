"""The GPT-1 paper's baseline: an LSTM in the place of the blocks (section 5, "single layer 2048 unit LSTM").

The paper tells the number of units and no more. Here the embedding keeps the width of the network, an LSTM of
`n_hidden` units reads it, and a matrix brings its states to that width again, so that the head stays tied;
there are no positions, which a recurrence does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

if TYPE_CHECKING:
    from model.attention import Mask
    from model.config import GPTConfig
    from model.transformer import LayerCache


class RecurrentBlock(nn.Module):
    """One LSTM layer, which begins each sequence with an empty state.

    Its parameters are plain ones of the module, which engines that spread a model can exchange; `nn.LSTM`
    keeps a list of its own.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        C, hidden = config.n_embd, config.n_hidden or 0
        self.input_weight = nn.Parameter(torch.empty(4 * hidden, C))
        self.state_weight = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.input_bias = nn.Parameter(torch.empty(4 * hidden))
        self.state_bias = nn.Parameter(torch.empty(4 * hidden))
        self.projection = nn.Parameter(torch.empty(C, hidden))
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Mask | None = None, cache: LayerCache | None = None) -> Tensor:
        """Return what has been read up to each position (B, T, C)."""
        if mask is not None or cache is not None:
            raise ValueError("an LSTM reads from left to right: it takes neither a mask nor a cache")
        empty = x.new_zeros(1, len(x), self.projection.shape[1])
        weights: list[Tensor] = [self.input_weight, self.state_weight, self.input_bias, self.state_bias]
        states, _, _ = torch.lstm(x, (empty, empty), weights, True, 1, 0.0, self.training, False, True)
        dropped: Tensor = self.drop(F.linear(states, self.projection))  # (B, T, C)
        return dropped
