"""How far two images differ, pixel by pixel, as colours with a scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfsq.images.picture import Pixels
from dfsq.report.compared import luma_error
from dfsq.report.encoding import indexed

STEPS = 16
"""Colours of the scale."""
_ANCHORS = np.array(
    [(8, 8, 20), (66, 16, 104), (150, 38, 104), (219, 80, 68), (250, 150, 40), (252, 250, 180)], dtype=np.float64
)
"""From none to most: ever lighter, so that it reads in grey as well."""
_ROUND = (1, 2, 3, 5, 10, 20, 30, 50, 100, 220)
"""Ends of scales, in levels."""
_SHARE = 99.5
"""Per cent of an image that lie on its scale."""


@dataclass(frozen=True)
class ErrorMap:
    """A map and what its colours mean: from 0 to ``end`` levels of luma."""

    png: bytes
    end: float


def colours() -> NDArray[np.uint8]:
    """The colours of the scale from 0 to its end, RGB ``(STEPS, 3)``."""
    places = np.linspace(0, len(_ANCHORS) - 1, STEPS)
    channels = [np.interp(places, np.arange(len(_ANCHORS)), _ANCHORS[:, channel]) for channel in range(3)]
    return np.stack(channels, 1).round().astype(np.uint8)


def scale_end(*errors: NDArray[np.float64]) -> float:
    """The end of a scale that fits errors in levels of luma, the rare largest aside."""
    reached = max((float(np.percentile(error, _SHARE)) for error in errors if error.size), default=0.0)
    return next((end for end in _ROUND if end >= reached), _ROUND[-1])


def error_map(first: Pixels, second: Pixels, end: float | None = None) -> ErrorMap:
    """The map of two images uint8 RGB ``(H, W, 3)``, averaged over two by two pixels, which halves its sides."""
    error = halved(luma_error(first, second))
    end = scale_end(error) if end is None else end
    levels = np.minimum(error * (STEPS / end), STEPS - 1).astype(np.uint8)
    return ErrorMap(indexed(levels, colours()), end)


def halved(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over two by two pixels; an odd last row or column is averaged alone."""
    padded = np.pad(values, [(0, size % 2) for size in values.shape], mode="edge")
    height, width = padded.shape
    means: NDArray[np.float64] = padded.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    return means
