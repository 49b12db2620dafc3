"""Every value to its nearest point, by a table: an entry per bin, at the same cost for any number of points.

There are three ways, with the same result to the bit. Here it is torch's own operators;
:mod:`dfsq.quantizers.native` is C for a CPU, and :mod:`dfsq.quantizers.fused` what ``torch.compile`` makes elsewhere.
Where points are few, those two compare with the midpoints, which takes no table. A tie goes to the upper point in all.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from dfsq.quantizers.normalization import PIECE, bin_index, restored
from dfsq.quantizers.subset import value_table
from dfsq.quantizers.universal import UniversalSet


class Lookup:
    """The points of channels in the forms that finding the nearest takes, each made when it is first needed."""

    def __init__(self, points: Tensor, universal: UniversalSet) -> None:
        """``points``: ascending numerators, int ``(C, k)``."""
        self.points = points
        self.universal = universal

    @cached_property
    def values(self) -> Tensor:
        """The points in −1…1: float32 ``(k, C)``."""
        return self.universal.values(self.points.T.contiguous())

    @cached_property
    def edges(self) -> Tensor:
        """The midpoints between them in bins from the middle: float32 ``(k − 1, C)``."""
        ascending = self.points.T.contiguous()
        # Bins are half as wide as 1 / denominator, so the sum of two numerators is the bin of their midpoint.
        return (ascending[:-1] + ascending[1:]).float()

    @cached_property
    def table(self) -> Tensor:
        """The nearest point of every bin, in −1…1: float32 ``(C, bins)``."""
        return value_table(self.points, self.universal)


def round_to_points(x: Tensor, shift: Tensor | None, spread: Tensor, lookup: Lookup) -> Tensor:
    """Replace ``x`` ``(n, C)``, contiguous, by the nearest points; same shape.

    ``shift`` (None for 0) and ``spread``, both ``(C,)`` or those of every pixel ``(n, C)``, normalize to −1…1.
    """
    channels, bins = lookup.table.shape
    of_pixels = spread.dim() == 2
    levels = lookup.table if of_pixels else restored(lookup.table.T, shift, spread).T
    levels = levels.reshape(-1)
    offset = torch.arange(0, channels * bins, bins, device=x.device, dtype=torch.int32)
    result = torch.empty_like(x)
    step = len(x) if of_pixels else max(1, PIECE // channels)
    for piece, to in zip(torch.split(x, step), torch.split(result, step), strict=True):
        index = bin_index(piece, shift, spread, bins) + offset
        torch.index_select(levels, 0, index.view(-1), out=to.view(-1))
    return restored(result, shift, spread) if of_pixels else result
