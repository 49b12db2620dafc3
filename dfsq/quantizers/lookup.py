"""Every value to its nearest point: normalization, assignment and the way back, a piece of the tensor at a time.

There are three ways, with the same result to the bit. Torch's own operators find the point in a table with one entry
per bin, at the same cost for any number of points. C code (:mod:`dfsq.quantizers.native`) on a CPU, and what
``torch.compile`` makes elsewhere, are one loop, and compare with the midpoints where points are few, which takes no
table. A tie goes to the upper point in all of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dfsq.quantizers import native
from dfsq.quantizers.normalization import bin_index, restored
from dfsq.runtime import compiled

_COMPARED = 16
"""Most points that torch.compile's code compares with."""
_PIECE = 2**19
"""Values worked on together: what lies between two operators stays within a CPU cache."""


def round_to_points(
    x: Tensor, shift: Tensor | None, spread: Tensor, values: Tensor, edges: Tensor, table: Tensor
) -> Tensor:
    """Replace ``x`` ``(n, C)``, contiguous, by the nearest points; same shape.

    ``shift`` (None for 0) and ``spread``, both ``(C,)``, normalize the channels to −1…1. ``values`` ``(k, C)`` are
    their points, ascending, ``edges`` ``(k − 1, C)`` the midpoints between them in bins from the middle, and ``table``
    ``(C, bins)`` the nearest point of every bin.
    """
    if native.available(x):
        return native.round_pixels(x, shift, spread, values, edges, table)
    channels, bins = table.shape
    fused, index = compiled(_compare), compiled(_index) or _index
    if fused is not None and len(values) <= _COMPARED:
        levels = restored(values, shift, spread)
        shift = torch.zeros_like(spread) if shift is None else shift
        result: Tensor = fused(x, shift, spread, edges, levels, bins // 2)
        return result
    levels = restored(table.T, shift, spread).T.reshape(-1)
    offset = torch.arange(0, channels * bins, bins, device=x.device, dtype=torch.int32)
    result = torch.empty_like(x)
    step = max(1, _PIECE // channels)
    for piece, to in zip(torch.split(x, step), torch.split(result, step), strict=True):
        torch.index_select(levels, 0, index(piece, shift, spread, offset, bins).view(-1), out=to.view(-1))
    return result


def _index(x: Tensor, shift: Tensor | None, spread: Tensor, offset: Tensor, bins: int) -> Tensor:
    return bin_index(x, shift, spread, bins) + offset


def _compare(x: Tensor, shift: Tensor, spread: Tensor, edges: Tensor, levels: Tensor, half: int) -> Tensor:
    """Made for a compiler; ``levels`` ``(k, C)``, and ``half`` bins span the range 0…1."""
    normalized = (x - shift) / spread * half
    result = levels[0].expand_as(x)
    for edge, level in zip(edges.unbind(), levels[1:].unbind(), strict=True):
        result = torch.where(normalized >= edge, level, result)
    return result
