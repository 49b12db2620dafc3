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
from dfsq.quantizers.shares import SUFFIXES as SHARES
from dfsq.quantizers.shares import pack_shares, unpack_shares
from dfsq.quantizers.stored import Stored

_BLOCK = 16
"""Channels whose corrections from all channels before them are computed in one matrix product."""
_PIXELS = 16384
"""Pixels worked on together: their values and errors stay within a CPU cache."""


class ErrorFeedback(nn.Module):
    """The order in which channels are rounded, and what of an error goes to which channel."""

    SUFFIXES = ("order", *SHARES)
    """Of the tensors that it may be stored as."""

    order: Tensor
    shares: Tensor

    def __init__(self, order: Tensor, shares: Tensor, steps: Tensor | None = None) -> None:
        """``order``: a permutation of the channels, ``(C,)``. ``shares``: ``(C, C)``.

        Row i, column j > i of ``shares``, both in that order, is how much of the error of channel i is taken from
        channel j; the rest of it is ignored. ``steps``, ``(2, C)``, say how finely that is stored
        (:func:`~dfsq.quantizers.shares.pack_shares`): to ``steps[0, j] * steps[1, i]``; None: to sixteenths.
        """
        super().__init__()
        if steps is None:
            steps = torch.ones(2, len(order)) / 4
        self._keep(order, pack_shares(shares.T, steps), shares.device)

    def _keep(self, order: Tensor, tensors: dict[str, Tensor], device: torch.device) -> None:
        self._tensors = tensors
        self.register_buffer("order", order.int(), persistent=False)
        # Transposed: a row holds what is taken from a channel.
        shares = unpack_shares(Stored(tensors, SHARES), len(order))
        self.register_buffer("shares", shares.to(device), persistent=False)

    def forward(self, x: Tensor, shift: Tensor | None, spread: Tensor, lookup: Lookup) -> Tensor:
        """Round ``x`` ``(n, C)`` as :func:`dfsq.quantizers.lookup.round_to_points` does, with feedback."""
        shift = torch.zeros_like(spread) if shift is None else shift
        of_pixels = spread.dim() == 2
        levels = lookup.table if of_pixels else restored(lookup.table.T, shift, spread).T
        levels = levels[self.order].contiguous()
        result = torch.empty_like(x)
        for first in range(0, len(x), _PIXELS):
            some = slice(first, first + _PIXELS)
            units = (each[some] if of_pixels else each for each in (shift, spread))
            ordered, low, wide = (self._in_order(each) for each in (x[some], *units))
            result[some, self.order] = self._round(ordered, low, wide, levels).T
        return result

    def _in_order(self, values: Tensor) -> Tensor:
        """``values`` ``(…, C)`` with the channels first, in the order of rounding."""
        return values.index_select(-1, self.order).movedim(-1, 0).contiguous()

    def _round(self, x: Tensor, shift: Tensor, spread: Tensor, levels: Tensor) -> Tensor:
        """Round ``x`` ``(C, n)``, all in the order of rounding; overwrites it.

        ``levels`` ``(C, bins)`` are in the unit of ``x``; in −1…1 where every pixel has a ``shift`` and ``spread``.
        """
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
                if spread.dim() == 2:
                    rounded[channel].mul_(spread[channel]).add_(shift[channel])
                torch.sub(x[channel], rounded[channel], out=errors[channel])
        return rounded

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors to store, by suffix: the order, and the triangle of the shares, row by row."""
        smallest = torch.uint8 if len(self.order) <= 2**8 else torch.int16
        return {"order": self.order.cpu().to(smallest), **self._tensors}

    @classmethod
    def from_tensors(cls, stored: Stored, channels: int) -> ErrorFeedback:
        """Inverse of :meth:`to_tensors`. Raises ValueError for tensors that do not fit ``channels`` or one another."""
        short = stored.dtype("order") == torch.uint8
        order = stored.take("order", torch.uint8 if short else torch.int16, (channels,)).int()
        if sorted(order.tolist()) != list(range(channels)):
            raise ValueError(f"the order is no permutation of {channels} channels")
        result = cls.__new__(cls)
        nn.Module.__init__(result)
        result._keep(order, stored.those(SHARES), order.device)
        return result
