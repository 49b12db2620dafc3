"""Selection by trying every subset.

What the DFSQ paper's K-means replaces, and a reference for small universal sets.
"""

from __future__ import annotations

from itertools import combinations, islice
from math import comb

import torch
from torch import Tensor

from calibration.selection.histogram import UNIT, centers
from dfsq.errors import UsageError
from dfsq.quantizers.universal import UniversalSet

LIMIT = 1_000_000
"""Most subsets that are tried per channel."""
_BATCH = 2048


def select(histogram: Tensor, universal: UniversalSet, k: int) -> Tensor:
    """Return the best ``k`` points per channel: ascending numerators, int64 ``(C, k)``.

    ``histogram`` is int64 ``(C, bins)``. Raises
    :class:`UsageError` with their number when there are more than ``LIMIT`` subsets.
    """
    subsets = comb(len(universal), k)
    if subsets > LIMIT:
        raise UsageError(
            f"exhaustive selection of {k} out of {len(universal)} points would try {subsets:.3g} subsets per channel "
            f"(limit {LIMIT:,}); use `selector` exact, which finds the same optimum, or fewer `words` or `bits`"
        )
    # One row per element: squared distance of every bin centre to it.
    distance = (centers(universal) - UNIT * universal.numerators[:, None]).square()
    counts = histogram.double()
    least = torch.full((len(histogram),), torch.inf, dtype=torch.float64)
    best = torch.zeros(len(histogram), k, dtype=torch.int64)
    every = combinations(range(len(universal)), k)
    while batch := list(islice(every, _BATCH)):
        indices = torch.tensor(batch)
        errors = counts @ distance[indices].amin(1).T
        lowest, position = errors.min(1)
        better = lowest < least
        least = torch.where(better, lowest, least)
        best[better] = indices[position[better]]
    return universal.numerators[best]
