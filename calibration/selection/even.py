"""Evenly spaced points: where they are many, nothing is left to select but the range.

At 8 bits the additive universal set is the bottleneck: 256 points are two thirds of its 377, which are coarse near
the ends. Steps here are multiples of 1 / denominator, so that the same tables work.
"""

from __future__ import annotations

import torch
from torch import Tensor

from calibration.selection.histogram import UNIT, selection_error
from dfsq.quantizers.universal import UniversalSet

_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
"""Steps that are tried, as shares of the one that reaches all values."""


def select(histogram: Tensor, universal: UniversalSet, k: int) -> Tensor:
    """The evenly spaced points with the least squared error: ascending numerators, int64 ``(C, k)``.

    ``histogram`` is int64 ``(C, bins)``. Where no value is negative the first point is 0.
    """
    return _best(histogram, universal, k)[0]


def least_error(histogram: Tensor, universal: UniversalSet, k: int) -> Tensor:
    """Mean squared error of the points that :func:`select` finds: float64 ``(C,)``, for values in −1…1."""
    error = _best(histogram, universal, k)[1] / histogram.sum(1).clamp(min=1)
    return error / (UNIT * universal.denominator) ** 2


def _best(histogram: Tensor, universal: UniversalSet, k: int) -> tuple[Tensor, Tensor]:
    low, high = _extremes(histogram, universal)
    most = universal.denominator
    whole = ((high - low + k - 2) // (k - 1)).clamp(1, 2 * most // (k - 1))
    grids = torch.stack([_grid(low, high, (whole * share).ceil().long(), most, k) for share in _SHARES])
    errors = torch.stack([selection_error(histogram, grid, universal) for grid in grids])
    best = errors.argmin(0), torch.arange(len(histogram))
    return grids[best], errors[best]


def _grid(low: Tensor, high: Tensor, step: Tensor, most: int, k: int) -> Tensor:
    """``k`` points about the middle of ``low`` and ``high``, or from 0 where ``low`` is, within ±``most``."""
    first = torch.where(low >= 0, 0, (low + high - (k - 1) * step) // 2)
    first = torch.minimum(first, most - (k - 1) * step).clamp_min(-most)
    return first[:, None] + step[:, None] * torch.arange(k)


def _extremes(histogram: Tensor, universal: UniversalSet) -> tuple[Tensor, Tensor]:
    """Least and largest value of every channel, as numerators, int64 ``(C,)``; 0 where there is none."""
    seen = histogram > 0
    first, after = seen.int().argmax(1), universal.bins - seen.flip(1).int().argmax(1)
    half = universal.bins // 2
    low, high = (first - half) // 2, -((half - after) // 2)
    return torch.where(seen.any(1), low, 0), torch.where(seen.any(1), high, 0)
