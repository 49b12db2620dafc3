"""Exact selection: the k points of the universal set with the least squared error, as a shortest path.

Between two neighbouring chosen points u < v the error depends on nothing else: bins left of their midpoint go to u, the
others to v. So the best selection is a shortest path over U with k nodes, found by dynamic programming in O(k·|U|²) per
channel; the edge costs come from prefix moments of the histogram. There are no restarts and there is no seed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from calibration.selection.histogram import UNIT, centers
from dfsq.quantizers.universal import UniversalSet

_BLOCK = 2
"""Channels solved together: their edge costs stay within a CPU cache."""


def select(histogram: Tensor, universal: UniversalSet, k: int) -> Tensor:
    """Return the globally optimal ``k`` points per channel: ascending numerators, int64 ``(C, k)``.

    ``histogram`` is int64 ``(C, bins)``. Among equally good selections the one with the lower points wins.
    """
    return torch.cat([_select_block(block, universal, k) for block in torch.split(histogram, _BLOCK)])


def least_errors(histogram: Tensor, universal: UniversalSet, most: int) -> Tensor:
    """Mean squared error of the best selections of 1…``most`` points: float64 ``(C, most)``, for values in −1…1."""
    errors = []
    for block in torch.split(histogram, _BLOCK):
        _, _, right, lengths = _shortest(block, universal, most)
        least = torch.stack([(length + right).amin(1) for length in lengths], 1)
        errors.append(least / block.sum(1, keepdim=True).clamp(min=1))
    return torch.cat(errors) / (UNIT * universal.denominator) ** 2


def _select_block(histogram: Tensor, universal: UniversalSet, k: int) -> Tensor:
    candidates, between, right, lengths = _shortest(histogram, universal, k)
    channels = torch.arange(len(histogram))
    path = [(lengths[-1] + right).argmin(1)]
    for length in reversed(lengths[:-1]):
        path.append((length + between[channels, path[-1]]).argmin(1))
    return candidates[torch.stack(path[::-1], 1)]


def _shortest(histogram: Tensor, universal: UniversalSet, k: int) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Candidates, edge costs, costs of ending, and the least costs of having come to each candidate in 1…k steps."""
    candidates = _hull(histogram, universal, k)
    left, between, right = _costs(histogram, candidates, universal)
    # lengths[t][c, v]: least error of all values below v when v is the (t + 1)-th chosen point
    lengths = [left]
    sums = torch.empty_like(between)
    for _ in range(k - 1):
        torch.add(between, lengths[-1][:, None, :], out=sums)
        lengths.append(sums.amin(2))
    return candidates, between, right, lengths


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


def _costs(histogram: Tensor, candidates: Tensor, universal: UniversalSet) -> tuple[Tensor, Tensor, Tensor]:
    """Error below the first point ``(C, n)``, between neighbours ``(C, v, u)`` and above the last point ``(C, n)``.

    Between neighbours it is inf unless u < v.
    """
    counts = histogram.double()
    position = centers(universal)
    moments = [torch.nn.functional.pad((counts * position**power).cumsum(1), (1, 0)) for power in range(3)]
    point = UNIT * candidates.double()
    edge = 2 * candidates + universal.bins // 2
    # The expanded square, summed over the bins left of an edge with the given index, about a point.
    midpoint = candidates[:, None] + candidates[None, :] + universal.bins // 2  # (v, u)

    def until(edges: Tensor, about: Tensor) -> Tensor:
        zeroth, first, second = (moment[:, edges] for moment in moments)
        return second - 2 * about * first + about.square() * zeroth

    below = until(edge, point)
    total = moments[2][:, -1:] - 2 * point * moments[1][:, -1:] + point.square() * moments[0][:, -1:]
    lower = until(midpoint, point[None, :]) - below[:, None, :]
    upper = below[:, :, None] - until(midpoint, point[:, None])
    ordered = candidates[None, :] < candidates[:, None]
    return below, torch.where(ordered, lower + upper, torch.inf), total - below
