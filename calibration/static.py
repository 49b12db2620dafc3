"""Points for a range of every channel that is fixed before the network runs."""

from __future__ import annotations

import torch
from torch import Tensor

from calibration.selection import exact
from dfsq import distributed
from dfsq.nn import ErrorFeedback, SubsetQuantizer
from dfsq.quantizers.normalization import EPSILON, bin_index
from dfsq.quantizers.universal import UniversalSet


class StaticObserver:
    """Holds what a layer is given, until the range is known."""

    def __init__(self, channel_axis: int) -> None:
        self._axis = channel_axis
        self._seen: list[Tensor] = []

    def observe(self, x: Tensor) -> None:
        """Note one batch."""
        # A copy: what sequential calibration hands out may lie in a file by the time that it is read.
        self._seen.append(x.movedim(self._axis, -1).flatten(0, -2).clone())

    def reduce(self, device: torch.device) -> None:
        """Put together what this layer's observers in all processes have noted."""
        self._seen = [each.to(device) for seen in distributed.gather(self._seen) for each in seen]

    def quantizer(self, bits: int, universal: UniversalSet, feedback: ErrorFeedback | None = None) -> SubsetQuantizer:
        """The quantizer with the points that suit all values best, the squared error of every channel least."""
        x = torch.cat(self._seen)
        low, high = x.amin(0), x.amax(0)
        shift = torch.where(low < 0, (low + high) / 2, 0)
        spread = torch.where(low < 0, (high - low) / 2, high) + EPSILON
        index = bin_index(x, shift, spread, universal.bins).T.long().cpu()
        histogram = torch.zeros(x.shape[1], universal.bins, dtype=torch.int64)
        histogram.scatter_add_(1, index, torch.ones_like(index))
        points = exact.select(histogram, universal, 2**bits)
        fixed = torch.stack([shift, spread])
        return SubsetQuantizer(points, True, bits, universal, self._axis, feedback=feedback, fixed=fixed).to(x.device)
