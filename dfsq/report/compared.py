"""One image as two models upscale it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfsq.evaluation.results import Scores
from dfsq.images.picture import Pixels

_LUMA = np.array([65.481, 128.553, 24.966]) / 255


@dataclass(frozen=True)
class Compared:
    """An image and two results, all uint8 RGB ``(H, W, 3)``."""

    set_name: str
    name: str
    hr: Pixels
    first: Pixels
    second: Pixels
    scores: tuple[Scores, Scores]
    """Of the first and the second result."""

    @property
    def drop(self) -> float:
        """Y-PSNR of the first minus that of the second, in dB; 0 where both are infinite."""
        first, second = (each.psnr_y for each in self.scores)
        return 0.0 if first == second else first - second


def luma_error(first: Pixels, second: Pixels) -> NDArray[np.float64]:
    """How far the luma of two images differs, ``(H, W)`` in levels of 219 between black and white."""
    return np.abs((first.astype(np.float64) - second.astype(np.float64)) @ _LUMA)


def busiest(error: NDArray[Any], height: int, width: int) -> tuple[slice, slice]:
    """The window of at most ``height`` and ``width`` with the largest sum, on a grid of eight pixels."""
    height, width = min(height, error.shape[0]), min(width, error.shape[1])
    total = np.pad(error.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    coarse = sums[::8, ::8]
    row, column = np.unravel_index(coarse.argmax(), coarse.shape)
    top, left = int(row) * 8, int(column) * 8
    return slice(top, top + height), slice(left, left + width)
