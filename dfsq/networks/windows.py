"""Windows of maps among whose tokens transformers attend, and their shifts (Liu et al., ICCV 2021, §3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

_MASKED = -100.0
"""What is added to the score of a pair of tokens that are no neighbours."""


def relative_positions(window: int) -> Tensor:
    """Where a table over all relative positions has that of every pair of tokens: int64 ``(window², window²)``."""
    axis = torch.arange(window)
    difference = axis[:, None] - axis + window - 1
    rows, columns = difference[:, None, :, None], difference[None, :, None, :]
    return (rows * (2 * window - 1) + columns).reshape(window**2, window**2)


def windows_of(x: Tensor, window: int) -> Tensor:
    """``(N, H, W, C)``, whose sides are multiples of ``window``, as ``(windows, window², C)``."""
    batch, height, width, channels = x.shape
    rows = x.view(batch, height // window, window, width // window, window, channels)
    return rows.transpose(2, 3).reshape(-1, window**2, channels)


def merged_windows(windows: Tensor, like: Tensor, window: int) -> Tensor:
    """Inverse of :func:`windows_of` for the sides of ``like``."""
    batch, height, width, _ = like.shape
    rows = windows.view(batch, height // window, width // window, window, window, -1)
    return rows.transpose(2, 3).reshape(like.shape)


def shift_mask(x: Tensor, window: int) -> Tensor:
    """What keeps apart tokens of ``x`` ``(N, H, W, C)`` that only a cyclic shift by half a window brings together:
    ``(windows of an image, window², window²)``."""

    def parts(size: int) -> Tensor:
        position = torch.arange(size, device=x.device)
        return (position >= size - window).int() + (position >= size - window // 2).int()

    regions = 3 * parts(x.shape[1])[:, None] + parts(x.shape[2])
    tokens = windows_of(regions[None, ..., None], window)[..., 0]
    return (tokens[:, :, None] != tokens[:, None, :]).to(x.dtype) * _MASKED
