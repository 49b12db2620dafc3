"""Uniform grids and powers of two: what points out of the universal set are compared with.

Grids need no universal set. Their points are multiples of 1 / denominator as its elements are: the same tables work.
"""

from __future__ import annotations

import torch
from torch import Tensor

from calibration.selection.histogram import selection_error
from dfsq.quantizers.universal import UniversalSet

PERCENTILE = 0.999
"""Share of the values that the range of ``percentile`` leaves inside, on either side."""
_SHRINKING = torch.linspace(1, 0.2, 33).tolist()
"""Ranges that ``mse`` tries, as shares of the full one."""


def minmax(histogram: Tensor, universal: UniversalSet, k: int) -> Tensor:
    """A grid between the extremes of every channel: ascending numerators, int64 ``(C, k)``."""
    return _grid(*_quantiles(histogram, universal, 1.0), universal, k)


def percentile(histogram: Tensor, universal: UniversalSet, k: int) -> Tensor:
    """A grid between the percentiles of every channel: ascending numerators, int64 ``(C, k)``."""
    return _grid(*_quantiles(histogram, universal, PERCENTILE), universal, k)


def mse(histogram: Tensor, universal: UniversalSet, k: int) -> Tensor:
    """The grid with the least squared error among shrunken ranges: ascending numerators, int64 ``(C, k)``."""
    low, high = _quantiles(histogram, universal, 1.0)
    grids = [_grid(low * share, high * share, universal, k) for share in _SHRINKING]
    errors = torch.stack([selection_error(histogram, grid, universal) for grid in grids])
    return torch.stack(grids)[errors.argmin(0), torch.arange(len(histogram))]


def log2(histogram: Tensor, universal: UniversalSet, k: int) -> Tensor:
    """Zero and powers of two from 1 downwards, of both signs where both occur: int64 ``(C, k)``, ascending.

    Where the universal set has fewer powers than k takes, the last point is repeated.
    """
    low, _ = _quantiles(histogram, universal, 1.0)
    powers = universal.denominator // 2 ** torch.arange(universal.denominator.bit_length())
    rows = []
    for signed in (low < 0).tolist():
        points = torch.stack([powers, -powers], 1).flatten() if signed else powers
        points = torch.cat([torch.zeros(1, dtype=torch.int64), points])[:k]
        rows.append(torch.cat([points, points[-1:].expand(k - len(points))]).sort().values)
    return torch.stack(rows)


def _quantiles(histogram: Tensor, universal: UniversalSet, share: float) -> tuple[Tensor, Tensor]:
    """Below and above which no more than 1 − ``share`` of a channel's values lie: float64 ``(C,)``, −1…1."""
    bins = universal.bins
    cumulative = histogram.double().cumsum(1)
    total = cumulative[:, -1:]
    first = (cumulative <= (1 - share) * total).sum(1).clamp(max=bins - 1)
    last = (cumulative < share * total).sum(1)
    return 2 * first / bins - 1.0, 2 * (last + 1) / bins - 1.0


def _grid(low: Tensor, high: Tensor, universal: UniversalSet, k: int) -> Tensor:
    """``k`` evenly spaced values, as multiples of 1 / denominator."""
    steps = torch.linspace(0, 1, k, dtype=torch.float64)
    return ((low[:, None] + (high - low)[:, None] * steps) * universal.denominator).round().long()
