"""Error feedback: activations rounded channel by channel, so that their errors cancel in what comes after.

Rounding to the nearest point treats channels alone, but a layer mixes them. Here what rounding took from a channel is
handed on to those channels of the same pixel that are still to be rounded, in shares chosen such that the errors
together fall where the network does not see them. It is the rule of GPTQ (Frantar et al., ICLR 2023) for weights,
applied to activations while the network runs: C²/2 multiplications per pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dfsq.quantizers.lookup import Lookup
from dfsq.quantizers.normalization import bin_index, restored

_BLOCK = 16
"""Channels whose corrections from all channels before them are computed in one matrix product."""
_PIXELS = 16384
"""Pixels worked on together: their values and errors stay within a CPU cache."""


class ErrorFeedback(nn.Module):
    """The order in which channels are rounded, and what of an error goes to which channel."""

    order: Tensor
    shares: Tensor

    def __init__(self, order: Tensor, shares: Tensor) -> None:
        """``order``: a permutation of the channels, ``(C,)``. ``shares``: ``(C, C)``.

        Row i, column j > i of ``shares``, both in that order, is how much of the error of channel i is taken from
        channel j; the rest of it is ignored. Rounded to bfloat16, as which it is stored. Kept transposed.
        """
        super().__init__()
        self.register_buffer("order", order.int(), persistent=False)
        self.register_buffer("shares", shares.triu(1).T.bfloat16().float().contiguous(), persistent=False)

    def forward(self, x: Tensor, shift: Tensor | None, spread: Tensor, lookup: Lookup) -> Tensor:
        """Round ``x`` ``(n, C)`` as :func:`dfsq.quantizers.lookup.round_to_points` does, with feedback."""
        levels = restored(lookup.table.T, shift, spread).T[self.order].contiguous()
        shift = torch.zeros_like(spread) if shift is None else shift
        result = torch.empty_like(x)
        for pixels, to in zip(torch.split(x, _PIXELS), torch.split(result, _PIXELS), strict=True):
            ordered = pixels.index_select(1, self.order).T.contiguous()
            to[:, self.order] = self._round(ordered, shift[self.order], spread[self.order], levels).T
        return result

    def _round(self, x: Tensor, shift: Tensor, spread: Tensor, levels: Tensor) -> Tensor:
        """Round ``x`` ``(C, n)`` to the ``levels`` ``(C, bins)``, all in the order of rounding; overwrites it."""
        rounded, errors = torch.empty_like(x), torch.empty_like(x)
        for first in range(0, len(x), _BLOCK):
            block = slice(first, min(first + _BLOCK, len(x)))
            if first:
                x[block].addmm_(self.shares[block, :first], errors[:first], alpha=-1)
            for channel in range(first, block.stop):
                if channel > first:
                    x[channel].addmv_(errors[first:channel].T, self.shares[channel, first:channel], alpha=-1)
                index = bin_index(x[channel], shift[channel], spread[channel], levels.shape[1])
                torch.index_select(levels[channel], 0, index, out=rounded[channel])
                torch.sub(x[channel], rounded[channel], out=errors[channel])
        return rounded

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors to store, by suffix: the order and the triangle of the shares, row by row."""
        upper = torch.triu_indices(len(self.order), len(self.order), 1)
        return {"order": self.order.to(torch.int16), "shares": self.shares.T[*upper].bfloat16()}

    @classmethod
    def from_tensors(cls, order: Tensor, shares: Tensor) -> ErrorFeedback:
        """Inverse of :meth:`to_tensors`. Raises ValueError for tensors that do not fit together."""
        channels = len(order)
        if sorted(order.tolist()) != list(range(channels)) or len(shares) != channels * (channels - 1) // 2:
            raise ValueError(f"an order of {channels} channels and {len(shares)} shares do not fit together")
        matrix = torch.zeros(channels, channels)
        matrix[*torch.triu_indices(channels, channels, 1)] = shares.float()
        return cls(order.long(), matrix)
