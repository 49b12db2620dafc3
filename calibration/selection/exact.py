"""Exact selection: the k points of the universal set with the least squared error, as a shortest path.

Between two neighbouring chosen points u < v the error depends on nothing else: bins left of their midpoint go to u, the
others to v. So the best selection is a shortest path over U with k nodes, found by dynamic programming in O(k·|U|²) per
channel, without restarts and without a seed.

If all values went to the last point chosen so far, v, the error would be Σ(x − v)². Having u before it as well saves
Σ(x − v)² − (x − u)² over the values x below the midpoint, which is (v − u) · Σ(u + v − 2x): apart from the factor, a
function of u + v alone. So the lengths of all edges are one look-up in prefix sums of the histogram.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

from calibration import native
from calibration.selection.histogram import UNIT, centers
from dfsq import distributed
from dfsq.quantizers.universal import UniversalSet

_BLOCK = 32
"""Channels solved together."""
_ROWS = 32
"""Points whose edges from all points below them are considered together: they stay within a CPU cache."""


def select(histogram: Tensor, universal: UniversalSet, k: int) -> Tensor:
    """Return the globally optimal ``k`` points per channel: ascending numerators, int64 ``(C, k)``.

    ``histogram`` is int64 ``(C, bins)``. Among equally good selections the one with the lower points wins. Several
    processes share the channels.
    """
    graph = _Graph(histogram, universal, k)
    with threadpool_limits(1):  # pieces are too small to share between threads
        return torch.cat(distributed.share(torch.split(histogram.double(), _BLOCK), graph.best))


def least_errors(histogram: Tensor, universal: UniversalSet, most: int) -> Tensor:
    """Mean squared error of the best selections of 1…``most`` points: float64 ``(C, most)``, for values in −1…1."""
    graph = _Graph(histogram, universal, most)
    errors = []
    with threadpool_limits(1):
        for block in torch.split(histogram.double(), _BLOCK):
            alone, _, savings = graph.paths(block)
            least = torch.stack([(alone - saved).amin(1) for saved in savings], 1)
            errors.append(least / block.sum(1, keepdim=True).clamp(min=1))
    return torch.cat(errors) / (UNIT * universal.denominator) ** 2


class _Graph:
    """Paths of k points; what does not depend on the channel is computed once."""

    def __init__(self, histogram: Tensor, universal: UniversalSet, k: int) -> None:
        self.candidates = _hull(histogram, universal, k)
        self._k = k
        self._position = centers(universal)
        self._boundary = UNIT * torch.arange(-universal.bins // 2, universal.bins // 2 + 1, dtype=torch.float64)
        u, v = self.candidates[None, :], self.candidates[:, None]
        # Edge v behind u: the bin edge of their midpoint, or the last entry of the gains for what cannot be.
        self._edge = torch.where(u < v, u + v + universal.bins // 2, universal.bins + 1)
        self._factor = torch.where(u < v, UNIT * (v - u).double(), 1.0)

    def best(self, counts: Tensor) -> Tensor:
        """The best points of channels with ``counts`` ``(C, bins)``."""
        alone, gains, savings = self.paths(counts)
        chosen = (alone - savings[-1]).argmin(1)
        path = [chosen]
        for saved in reversed(savings[:-1]):
            chosen = (saved + gains.gather(1, self._edge[chosen]) * self._factor[chosen]).argmax(1)
            path.append(chosen)
        return self.candidates[torch.stack(path[::-1], 1)]

    def paths(self, counts: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The error of every candidate alone ``(C, n)``; for every bin edge, Σ(2 · edge − 2x) over the values below it;
        and the most that paths of 1…k points to each candidate save, ``(C, n)`` each.
        """
        below, weighted = (F.pad(each.cumsum(1), (1, 0)) for each in (counts, counts * self._position))
        point = UNIT * self.candidates.double()
        squares = counts @ self._position.square()
        alone = squares[:, None] - 2 * point * weighted[:, -1:] + point.square() * below[:, -1:]
        gains = F.pad(self._boundary * below - 2 * weighted, (0, 1), value=-torch.inf)
        return alone, gains, self._savings_in_c(gains) if native.available(gains) else self._savings(gains)

    def _savings(self, gains: Tensor) -> list[Tensor]:
        savings = [gains.new_zeros(len(gains), len(self.candidates)) for _ in range(self._k)]
        # A piece of the edges serves all lengths of paths while it is in the cache.
        for start in range(0, len(self.candidates), _ROWS):
            rows = slice(start, start + _ROWS)
            edge, factor = self._edge[rows, : rows.stop], self._factor[rows, : rows.stop]
            edges = gains.index_select(1, edge.reshape(-1)).view(-1, *edge.shape).mul_(factor)
            sums = torch.empty_like(edges)
            for shorter, longer in pairwise(savings):
                torch.add(edges, shorter[:, None, : rows.stop], out=sums)
                torch.amax(sums, 2, out=longer[:, rows])
        return savings

    def _savings_in_c(self, gains: Tensor) -> list[Tensor]:
        return list(native.savings(self.candidates, gains, self._k, UNIT))


def _hull(histogram: Tensor, universal: UniversalSet, k: int) -> Tensor:
    """Elements that can matter: one beyond the counted values on either side suffices, unless fewer than k remain."""
    elements = universal.numerators
    occupied = histogram.sum(0).nonzero()
    if len(occupied) == 0:
        return elements
    edges = 2 * elements + universal.bins // 2
    first = int((edges <= occupied[0]).sum()) - 1
    last = len(elements) - int((edges > occupied[-1]).sum())
    return elements[first : last + 1] if last - first + 1 >= k else elements
