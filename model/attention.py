"""Attention over heads: causal, with a mask of one's own, or inside documents.

Letters in shapes: B sequences, H heads, T positions that look, S positions looked at, D = width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

    Mask = Tensor | BlockMask
else:
    Mask = Any  # the module of block masks brings the compiler, which most models never need


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Mask | None, dropout: float, causal: bool) -> Tensor:
    """Return the values (B, H, T, D) that queries (B, H, T, D) gather from S keys, scaled by 1/sqrt(D).

    A dense mask is True where one may look; without one, `causal` says whether only backwards.
    """
    if mask is None or isinstance(mask, Tensor):
        return F.scaled_dot_product_attention(
            q, k, v, mask, dropout_p=dropout, is_causal=causal and mask is None
        )
    return _flex_attention()(q, k, v, block_mask=mask)


def document_mask(documents: Tensor, dropout: float) -> Mask:
    """Return the causal mask inside documents, which number each position's document (B, T).

    On a GPU it is one of blocks, so that blocks nobody may look into are never computed; flex attention has
    no dropout, which needs the dense mask (B, 1, T, T).
    """
    if documents.device.type == "cuda" and dropout == 0.0:
        return block_mask(documents)
    return (documents.unsqueeze(2) == documents.unsqueeze(1)).tril().unsqueeze(1)


def block_mask(documents: Tensor) -> BlockMask:
    """Return the causal mask inside documents (B, T) for flex attention."""
    from torch.nn.attention.flex_attention import create_block_mask

    B, T = documents.shape

    def visible(batch: Tensor, _: Tensor, place: Tensor, other: Tensor) -> Tensor:
        return (place >= other) & (documents[batch, place] == documents[batch, other])

    return create_block_mask(visible, B, None, T, T, device=documents.device)


@cache
def _flex_attention() -> Callable[..., Tensor]:
    """Return flex attention as one kernel; uncompiled it would write out all scores."""
    from torch.nn.attention.flex_attention import flex_attention

    compiled = torch.compile(flex_attention, dynamic=False) if torch.cuda.is_available() else flex_attention
    return cast(Callable[..., Tensor], compiled)
