"""Subset quantization (DFSQ §3.3): every value goes to the nearest of 2^b points out of the universal set."""

from __future__ import annotations

import torch
from torch import Tensor

from dfsq.quantizers.universal import UniversalSet


def code_table(points: Tensor, universal: UniversalSet) -> Tensor:
    """Index of the nearest point for every bin of the universal set's grid.

    ``points`` are ascending numerators, int ``(C, k)`` with k ≤ 256. Returns uint8 ``(C, bins)``. The lookup is exact:
    midpoints between points lie on bin edges. A value right on a midpoint takes the upper point.
    """
    edges = points[:, :-1].long() + points[:, 1:].long() + universal.bins // 2
    bins = torch.arange(universal.bins, device=points.device).expand(len(points), -1).contiguous()
    return torch.searchsorted(edges, bins, right=True).to(torch.uint8)


def value_table(points: Tensor, universal: UniversalSet) -> Tensor:
    """Value of the nearest point for every bin: float32 ``(C, bins)``; see :func:`code_table`."""
    return universal.values(points).gather(1, code_table(points, universal).long())


def nearest(x: Tensor, points: Tensor) -> Tensor:
    """Brute-force nearest point: the definition that the tables are checked against.

    ``x`` ``(C, n)`` and ``points`` ``(C, k)``, ascending, are in the same unit. Returns indices, int64 ``(C, n)``; ties
    take the upper point.
    """
    distance = (x[:, :, None] - points[:, None, :]).abs()
    k = points.shape[1]
    return k - 1 - distance.flip(-1).argmin(-1)
