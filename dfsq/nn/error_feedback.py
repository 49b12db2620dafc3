"""Error feedback: activations rounded channel by channel, so that their errors cancel in what comes after.

Rounding to the nearest point treats channels alone, but a layer mixes them. Here what rounding took from a channel is
handed on to those channels of the same pixel that are still to be rounded, in shares chosen such that the errors
together fall where the network does not see them. It is the rule of GPTQ (Frantar et al., ICLR 2023) for weights,
applied to activations while the network runs: C²/2 multiplications per pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dfsq.quantizers.lookup import Lookup
from dfsq.quantizers.normalization import bin_index, restored
from dfsq.quantizers.packing import pack, packed_size, unpack
from dfsq.quantizers.stored import Stored

_MAGNITUDES = torch.tensor([1, 3, 6, 9, 13, 18, 24, 32]) / 32
_LEVELS = torch.cat([-_MAGNITUDES.flip(0), _MAGNITUDES])
"""What shares are rounded to, in units of the largest of a channel: closer where most of them are."""
_BITS = 4
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
        channel j; the rest of it is ignored. Rounded to what is stored, two in a byte: see :class:`_Rounded`.
        """
        super().__init__()
        self._keep(order, _Rounded.nearest(shares.detach().triu(1).T.cpu().contiguous()), shares.device)

    def _keep(self, order: Tensor, stored: _Rounded | _Plain, device: torch.device | None = None) -> None:
        self._stored = stored
        self.register_buffer("order", order.int(), persistent=False)
        # Transposed: a row holds what is taken from a channel.
        self.register_buffer("shares", stored.decoded(len(order)).to(device or order.device), persistent=False)

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
        """Tensors to store, by suffix: the order and the triangle of the shares, row by row."""
        return {"order": self.order.cpu().to(torch.int16), **vars(self._stored)}

    @classmethod
    def from_tensors(cls, stored: Stored, channels: int) -> ErrorFeedback:
        """Inverse of :meth:`to_tensors`. Raises ValueError for tensors that do not fit ``channels`` or one another."""
        order = stored.take("order", torch.int16, (channels,))
        if sorted(order.tolist()) != list(range(channels)):
            raise ValueError(f"the order is no permutation of {channels} channels")
        count = channels * (channels - 1) // 2
        result = cls.__new__(cls)
        nn.Module.__init__(result)
        if "largest" in stored:
            codes = stored.take("shares", torch.uint8, (packed_size(count, _BITS),))
            result._keep(order, _Rounded(codes, stored.take("largest", torch.bfloat16, (channels,), 0)))
        else:
            result._keep(order, _Plain(stored.take("shares", torch.bfloat16, (count,))))
        return result


@dataclass(frozen=True)
class _Rounded:
    """Shares with a sign and one of eight magnitudes, in units of the largest that is taken from the channel.

    Finer ones do no better, which docs/accuracy.md shows.
    """

    shares: Tensor
    """Packed indices of ``_LEVELS``, below the diagonal row by row: uint8, 1-D."""
    largest: Tensor
    """bfloat16 ``(C,)``."""

    @classmethod
    def nearest(cls, shares: Tensor) -> _Rounded:
        """``shares`` ``(C, C)``, strictly below the diagonal, rounded."""
        largest = shares.abs().amax(1).bfloat16()
        units = torch.where(largest > 0, largest.float(), 1)[:, None]
        edges = (_LEVELS[1:] + _LEVELS[:-1]) / 2
        codes = torch.bucketize(shares / units, edges)
        return cls(pack(codes[*_below(len(shares))], _BITS), largest)

    def decoded(self, channels: int) -> Tensor:
        """The shares, float32 ``(C, C)``."""
        rows, columns = _below(channels)
        codes = unpack(self.shares, _BITS, (len(rows),))
        result = torch.zeros(channels, channels)
        result[rows, columns] = _LEVELS[codes] * self.largest.float()[rows]
        return result


@dataclass(frozen=True)
class _Plain:
    """Shares as files of before hold them."""

    shares: Tensor
    """bfloat16, above the diagonal row by row, 1-D: transposed."""

    def decoded(self, channels: int) -> Tensor:
        """The shares, float32 ``(C, C)``."""
        matrix = torch.zeros(channels, channels)
        matrix[*torch.triu_indices(channels, channels, 1)] = self.shares.float()
        return matrix.T.contiguous()


def _below(channels: int) -> Tensor:
    return torch.tril_indices(channels, channels, -1)
