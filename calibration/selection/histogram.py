"""Selection error on a histogram, in exact integer arithmetic.

Lengths are in quarters of 1 / denominator (half a bin): bin centres are odd integers, elements of the universal set
multiples of 4, and every sum of squares below is an integer that float64 holds exactly up to about 10⁸ values per
channel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dfsq.quantizers.subset import code_table
from dfsq.quantizers.universal import UniversalSet

UNIT = 4
"""Units per numerator."""


def centers(universal: UniversalSet) -> Tensor:
    """Bin centres in units: float64 ``(bins,)``, odd integers from 1 − bins to bins − 1."""
    return torch.arange(1 - universal.bins, universal.bins, 2, dtype=torch.float64)


def selection_error(histogram: Tensor, points: Tensor, universal: UniversalSet) -> Tensor:
    """Sum of squared distances to the nearest point, in squared units: float64 ``(C,)``.

    ``histogram`` is int64 ``(C, bins)``, ``points`` ascending numerators ``(C, k)``. Divide by (4 · denominator)² for
    the error of values in −1…1.
    """
    nearest = points.gather(1, code_table(points, universal).long())
    return (histogram * (centers(universal) - UNIT * nearest).square()).sum(1)
