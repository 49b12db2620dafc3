"""Histograms of what a layer is given, with the levels that it is rounded to."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from dfsq.nn import InputQuantizer
from dfsq.report.signals import Histogram


def histogram(quantizer: InputQuantizer, values: Tensor, bins: int, channel: int | None = None) -> Histogram:
    """``values`` and the levels of ``quantizer``, those of ``channel`` or of all channels, in ``bins`` of equal width.

    ``values``: float32 of any shape, in the units of the levels. The bins reach from the least to the largest of both.
    """
    every = quantizer.levels().cpu().numpy()
    levels, given = every if channel is None else every[[channel]], values.cpu().numpy()
    span = min(given.min(), levels.min()), max(given.max(), levels.max())
    counts, edges = np.histogram(given, bins, span)
    by_bin = np.histogram(levels, edges)[0] / len(levels)
    return Histogram(
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
        levels=tuple(by_bin.tolist()),
        points=tuple(np.unique(levels).tolist()),
        units=quantizer.units,
    )
