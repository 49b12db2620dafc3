"""Error feedback: activations rounded channel by channel, so that their errors cancel in what comes after.

Rounding to the nearest point treats channels alone, but a layer mixes them. Here what rounding took from a channel is
handed on to those channels of the same pixel that are still to be rounded, in shares chosen such that the errors
together fall where the network does not see them. It is the rule of GPTQ (Frantar et al., ICLR 2023) for weights,
applied to activations while the network runs: C²/2 multiplications per pixel.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dfsq.quantizers.lookup import COMPARED, compare, restored
from dfsq.quantizers.normalization import bin_index
from dfsq.runtime import compiled

_BLOCK = 8
"""Channels whose corrections from all channels before them are computed in one matrix product."""
_PIXELS = 8192
"""Pixels worked on together: their values and errors stay within a CPU cache."""
_COMPILED_PIXELS = 16384
"""The same for compiled code, which passes through memory less often."""

Block = Callable[[Tensor, Tensor, slice], tuple[Tensor, Tensor]]
"""Rounds a block of channels: values ``(B, n)`` and shares ``(B, B)`` to rounded values and errors, ``(B, n)``."""


class ErrorFeedback(nn.Module):
    """The order in which channels are rounded, and what of an error goes to which channel."""

    order: Tensor
    shares: Tensor

    def __init__(self, order: Tensor, shares: Tensor) -> None:
        """``order``: a permutation of the channels, int64 ``(C,)``. ``shares``: ``(C, C)``.

        Row i, column j > i of ``shares``, both in that order, is how much of the error of channel i is taken from
        channel j; the rest of it is ignored. Rounded to bfloat16, as which it is stored.
        """
        super().__init__()
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("shares", shares.triu(1).bfloat16().float(), persistent=False)

    def forward(
        self, x: Tensor, shift: Tensor | None, spread: Tensor, values: Tensor, edges: Tensor, table: Tensor
    ) -> Tensor:
        """Round ``x`` ``(n, C)`` as :func:`dfsq.quantizers.lookup.round_to_points` does, with feedback."""
        shift = torch.zeros_like(spread) if shift is None else shift
        shift, spread, values, edges = (each[..., self.order] for each in (shift, spread, values, edges))
        half = table.shape[1] // 2
        fused = compiled(_compared)
        if fused is not None and len(values) <= COMPARED:
            step, levels = _COMPILED_PIXELS, restored(values, shift, spread)

            def round_block(x: Tensor, shares: Tensor, block: slice) -> tuple[Tensor, Tensor]:
                own: tuple[Tensor, Tensor] = fused(
                    x, shares, shift[block], spread[block], edges[:, block], levels[:, block], half
                )
                return own
        else:
            step, levels = _PIXELS, restored(table[self.order].T, shift, spread).T.contiguous()

            def round_block(x: Tensor, shares: Tensor, block: slice) -> tuple[Tensor, Tensor]:
                return _looked_up(x, shares, shift[block], spread[block], levels[block])

        result = torch.empty_like(x)
        for pixels, to in zip(torch.split(x, step), torch.split(result, step), strict=True):
            to[:, self.order] = self._round(pixels.index_select(1, self.order).T.contiguous(), round_block).T
        return result

    def _round(self, x: Tensor, round_block: Block) -> Tensor:
        """Round ``x`` ``(C, n)`` with channels in order; overwrites it."""
        rounded, errors = torch.empty_like(x), torch.empty_like(x)
        for first in range(0, len(x), _BLOCK):
            block = slice(first, min(first + _BLOCK, len(x)))
            if first:
                x[block].addmm_(self.shares[:first, block].T, errors[:first], alpha=-1)
            rounded[block], errors[block] = round_block(x[block], self.shares[block, block], block)
        return rounded

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors to store, by suffix: the order and the triangle of the shares, row by row."""
        upper = torch.triu_indices(len(self.order), len(self.order), 1)
        return {"order": self.order.to(torch.int16), "shares": self.shares[*upper].bfloat16()}

    @classmethod
    def from_tensors(cls, order: Tensor, shares: Tensor) -> ErrorFeedback:
        """Inverse of :meth:`to_tensors`. Raises ValueError for tensors that do not fit together."""
        channels = len(order)
        if sorted(order.tolist()) != list(range(channels)) or len(shares) != channels * (channels - 1) // 2:
            raise ValueError(f"an order of {channels} channels and {len(shares)} shares do not fit together")
        matrix = torch.zeros(channels, channels)
        matrix[*torch.triu_indices(channels, channels, 1)] = shares.float()
        return cls(order.long(), matrix)


def _looked_up(x: Tensor, shares: Tensor, shift: Tensor, spread: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Round the channels of a block one after the other; ``levels`` ``(B, bins)``. Overwrites ``x``."""
    rounded, errors = torch.empty_like(x), torch.empty_like(x)
    for channel, value in enumerate(x):
        if channel:
            value.addmv_(errors[:channel].T, shares[:channel, channel], alpha=-1)
        index = bin_index(value, shift[channel], spread[channel], levels.shape[1])
        torch.index_select(levels[channel], 0, index, out=rounded[channel])
        torch.sub(value, rounded[channel], out=errors[channel])
    return rounded, errors


def _compared(
    x: Tensor, shares: Tensor, shift: Tensor, spread: Tensor, edges: Tensor, levels: Tensor, half: int
) -> tuple[Tensor, Tensor]:
    """The same for a compiler, which makes one loop over the pixels of it; ``levels`` ``(k, B)``."""
    rounded: list[Tensor] = []
    errors: list[Tensor] = []
    for channel, value in enumerate(x.unbind()):
        for error, share in zip(errors, shares[:channel, channel].unbind(), strict=True):
            value = value - share * error
        found = compare(value, shift[channel], spread[channel], edges[:, channel], levels[:, channel], half)
        rounded.append(found)
        errors.append(value - found)
    return torch.stack(rounded), torch.stack(errors)
