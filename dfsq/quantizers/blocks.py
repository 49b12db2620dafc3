"""Blocks of a map: squares of pixels, each of which is normalized by its own statistics."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cut(x: Tensor, side: int) -> Tensor:
    """Blocks of maps ``(N, H, W, C)``, row by row: ``(N · h · w, side², C)``, contiguous.

    Those that reach beyond the map repeat its last row and column.
    """
    height, width = x.shape[1:3]
    if height % side or width % side:
        x = F.pad(x.movedim(-1, 1), (0, -width % side, 0, -height % side), mode="replicate").movedim(1, -1)
    return in_blocks(x, side).contiguous()


def within(x: Tensor, reach: Tensor | None) -> Tensor:
    """``x`` ``(…, C)``, of magnitudes up to ``reach`` ``(C,)``; None: as it is."""
    return x if reach is None else torch.minimum(torch.maximum(x, -reach), reach)


def in_blocks(x: Tensor, side: int) -> Tensor:
    """As :func:`cut`, for maps of whole blocks."""
    samples, height, width, channels = x.shape
    squares = x.reshape(samples, height // side, side, width // side, side, channels).transpose(2, 3)
    return squares.reshape(-1, side * side, channels)


def joined(blocks: Tensor, shape: tuple[int, ...] | torch.Size, side: int) -> Tensor:
    """Inverse of :func:`cut`: maps of ``shape`` ``(N, H, W, C)``."""
    samples, height, width, channels = shape
    down, across = (height + side - 1) // side, (width + side - 1) // side  # ONNX divides towards zero
    squares = blocks.reshape(samples, down, across, side, side, channels).transpose(2, 3)
    return squares.reshape(samples, down * side, across * side, channels)[:, :height, :width]
