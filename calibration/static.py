"""Points for a range of every channel that is fixed before the network runs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from calibration.selection import exact, selection_error
from dfsq import distributed
from dfsq.nn import ErrorFeedback, SubsetQuantizer
from dfsq.quantizers.normalization import EPSILON, bin_index
from dfsq.quantizers.universal import UniversalSet

PassingErrors = Callable[[Tensor], ErrorFeedback | None]
"""What feedback there is for channels whose roundings err so much, mean squares ``(C,)``."""


def _none(_errors: Tensor) -> None:
    """None."""


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

    def quantizer(self, bits: int, universal: UniversalSet, passing_errors: PassingErrors = _none) -> SubsetQuantizer:
        """The quantizer with the points that suit all values best, the squared error of every channel least."""
        low = torch.stack([each.amin(0) for each in self._seen]).amin(0)
        high = torch.stack([each.amax(0) for each in self._seen]).amax(0)
        shift = torch.where(low < 0, (low + high) / 2, 0)
        spread = torch.where(low < 0, (high - low) / 2, high) + EPSILON
        first = torch.arange(len(low), device=low.device) * universal.bins
        histogram = torch.zeros(len(low) * universal.bins, dtype=torch.int64, device=low.device)
        for each in self._seen:
            index = bin_index(each, shift, spread, universal.bins) + first
            histogram += torch.bincount(index.flatten(), minlength=len(histogram))
        counts = histogram.view(-1, universal.bins).cpu()
        points = exact.select(counts, universal, 2**bits)
        feedback = passing_errors(selection_error(counts, points, universal) * spread.cpu().double().square())
        fixed = torch.stack([shift, spread])
        return SubsetQuantizer(points, True, bits, universal, self._axis, feedback=feedback, fixed=fixed).to(low.device)
