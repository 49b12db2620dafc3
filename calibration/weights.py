"""Weight quantizers: from a layer's full-precision weight to codes."""

from __future__ import annotations

import torch
from torch import Tensor

from calibration.selection import exact
from dfsq.quantizers import uniform
from dfsq.quantizers.universal import UniversalSet
from dfsq.quantizers.weights import QuantizedWeight, SubsetWeight, UniformWeight, steps_of, weight_bins

_ROWS = 16
"""Fewer share a column's scale: it takes some four bits, a quarter of one for each."""
_TINY = 1e-60
"""Least mean square that is divided by."""


def quantize_weight(weight: Tensor, method: str, bits: int, universal: UniversalSet) -> QuantizedWeight:
    """Quantize ``weight`` ``(C_out, …)`` per output channel.

    ``minmax``: uniform between the extremes (DFSQ §4.1). ``mse``: uniform, clipped where that lowers the squared error.
    ``subset``: the exactly selected points of the universal set, in units of the channel's largest magnitude.
    ``symmetric``: uniform about zero, whose code is in the middle: integers as engines run them.
    """
    weight = weight.detach().float().cpu().contiguous()
    if method == "subset":
        bins, _ = weight_bins(weight, universal)
        histogram = torch.zeros(len(weight), universal.bins, dtype=torch.int64)
        histogram.scatter_add_(1, bins.long(), torch.ones_like(bins, dtype=torch.int64))
        return SubsetWeight.nearest(weight, exact.select(histogram, universal, 2**bits), bits, universal)
    if method == "symmetric":
        scale, zero_point = uniform.symmetric_grid(weight, bits)
    else:
        ranges = uniform.minmax_range(weight) if method == "minmax" else uniform.mse_range(weight, bits)
        scale, zero_point = uniform.grid(*ranges, bits)
    return UniformWeight(uniform.encode(weight, scale, zero_point, bits), scale, zero_point, bits)


def column_steps(weight: Tensor) -> Tensor | None:
    """Scales of the columns of ``weight`` ``(C_out, …)``, as :class:`~dfsq.quantizers.weights.ColumnScaledWeight` has
    them: root mean squares, where all rows count the same. None where they are not worth the room."""
    rows = weight.detach().double().cpu().flatten(1)
    powers = rows.square()
    spread = (powers / powers.mean(1, keepdim=True).clamp_min(_TINY)).mean(0).sqrt()
    return None if len(rows) < _ROWS or not spread.any() else steps_of(spread / spread.max())
