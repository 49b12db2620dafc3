"""Selection by K-means, as the DFSQ paper does it (§3.3): centroids first, the universal set afterwards."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from calibration.selection.histogram import selection_error
from dfsq.quantizers.universal import UniversalSet

_PIN = 1e6
"""Weight of an extra value at 0, as a multiple of all others together: the centroid that holds it cannot leave 0."""


def select(histogram: Tensor, universal: UniversalSet, k: int, *, restarts: int = 5, seed: int = 0) -> Tensor:
    """Return ``k`` points per channel: ascending numerators, int64 ``(C, k)``, zero always among them.

    ``histogram`` is int64 ``(C, bins)``. K-means with ``k`` clusters, one centroid pinned at 0, is started ``restarts``
    times per channel; each centroid is snapped to the nearest element of the universal set and the restart with the
    least error is kept. Deterministic for a ``seed``.
    """
    generator = np.random.RandomState(seed)
    with threadpool_limits(1):  # a few thousand values are too few to share between threads
        return torch.stack([_select_channel(row, universal, k, restarts, generator) for row in histogram])


def _select_channel(
    histogram: Tensor, universal: UniversalSet, k: int, restarts: int, generator: np.random.RandomState
) -> Tensor:
    from sklearn.cluster import KMeans  # takes a second to import, and other selectors do without
    from sklearn.exceptions import ConvergenceWarning

    occupied = histogram.nonzero()[:, 0]
    center = (2 * occupied + 1 - universal.bins).double() / universal.bins
    values = np.concatenate([[0.0], center.numpy()])[:, None]
    counts = histogram[occupied].double().numpy()
    weights = np.concatenate([[_PIN * max(counts.sum(), 1.0)], counts])
    clusters = min(k, len(values))
    best, least = None, np.inf
    for _ in range(restarts):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct values than clusters
            kmeans = KMeans(clusters, n_init=1, random_state=generator).fit(values, sample_weight=weights)
        points = _snap(torch.from_numpy(kmeans.cluster_centers_[:, 0]), universal, k)
        error = float(selection_error(histogram[None], points[None], universal))
        if error < least:
            best, least = points, error
    assert best is not None
    return best


def _snap(centroids: Tensor, universal: UniversalSet, k: int) -> Tensor:
    """Nearest elements of the universal set; where they coincide, free elements near 0 fill up to ``k``."""
    elements = universal.numerators
    distance = (centroids[:, None] * universal.denominator - elements).abs()
    chosen = torch.zeros(len(elements), dtype=torch.bool)
    chosen[distance.argmin(1)] = True
    free = (~chosen).nonzero()[:, 0]
    free = free[elements[free].abs().argsort(stable=True)]
    chosen[free[: k - int(chosen.sum())]] = True
    return elements[chosen]
