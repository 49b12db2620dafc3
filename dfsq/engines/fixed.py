"""Graphs of one size: other images go through them in windows of that size."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

_OVERLAP = 32
"""At most, on either side; a quarter of small windows."""


def overlap_of(side: int) -> int:
    """Pixels at either end of a window that its neighbour contributes."""
    return min(_OVERLAP, side // 4)


def in_windows(run: Callable[[Tensor], Tensor], images: Tensor, size: tuple[int, int]) -> Tensor:
    """What ``run``, which takes images of ``size`` alone, makes of others: ``(N, C, H, W)`` to ``(N, C, s·H, s·W)``.

    Images that are too small are continued by their last rows and columns.
    """
    height, width = images.shape[2:]
    missing = [max(0, side - own) for side, own in zip(size, (height, width), strict=True)]
    if any(missing):
        images = F.pad(images, (0, missing[1], 0, missing[0]), mode="replicate")
    bands = []
    scale = 1
    for top, first, last in _places(images.shape[2], size[0]):
        parts = []
        for left, start, stop in _places(images.shape[3], size[1]):
            result = run(images[:, :, top : top + size[0], left : left + size[1]])
            scale = result.shape[2] // size[0]
            inside = result[:, :, (first - top) * scale : (last - top) * scale]
            parts.append(inside[:, :, :, (start - left) * scale : (stop - left) * scale])
        bands.append(torch.cat(parts, dim=3))
    return torch.cat(bands, dim=2)[:, :, : height * scale, : width * scale]


def _places(length: int, side: int) -> Iterator[tuple[int, int, int]]:
    """Where windows begin, and from where to where each contributes."""
    overlap = overlap_of(side)
    step = side - 2 * overlap
    starts = [0]
    while starts[-1] + side < length:
        starts.append(min(starts[-1] + step, length - side))
    edges = [0, *(start + overlap for start in starts[1:]), length]
    return ((start, edges[index], edges[index + 1]) for index, start in enumerate(starts))
