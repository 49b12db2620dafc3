"""Channel-wise normalization (DFSQ §3.2): every channel of every sample is brought to −1…1 by its own statistics."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

EPSILON = 1e-8
"""Keeps a constant channel from dividing by zero (DFSQ Eq. 5)."""
PIECE = 2**19
"""Values worked on together on a CPU: what lies between two operators stays within a cache."""
_FOLDED = 16
"""Pixels beside each other that are reduced together."""


def by_sample(x: Tensor, channel_axis: int) -> Tensor:
    """``x``, with samples on axis 0 and channels on ``channel_axis``, as ``(N, n, C)``, contiguous.

    Takes no copy of what is in channels_last.
    """
    return x.movedim(channel_axis, -1).contiguous().view(len(x), -1, x.shape[channel_axis])


def channel_statistics(sample: Tensor, signed: bool) -> tuple[Tensor | None, Tensor]:
    """Return shift μ and spread, each ``(C,)``, of the channels of ``sample`` ``(n, C)``, contiguous.

    ``signed``: μ is the mean and the spread max|x − μ| + ε. Otherwise (an input known to be non-negative) μ is None,
    that is 0, and the spread is max|x| + ε. The sum for the mean is taken in float64, where the order of the terms, and
    so the way in which it is computed, almost never shows in the float32 that it is rounded to.
    """
    highest, lowest = _extreme(torch.amax, sample), _extreme(torch.amin, sample)
    if not signed:
        return None, torch.maximum(highest, -lowest) + EPSILON
    n, channels = sample.shape
    sums = [piece.double().sum(0) for piece in torch.split(sample, max(1, PIECE // channels))]
    mean = (torch.stack(sums).sum(0) / n).float()
    # Rounding is monotone, so these differences are the extremes of |x - mean| to the bit, without another pass over x.
    return mean, torch.maximum(highest - mean, mean - lowest) + EPSILON


def window_statistics(samples: Tensor, signed: bool) -> tuple[Tensor | None, Tensor]:
    """:func:`channel_statistics` of many small ``samples`` ``(N, n, C)`` at once, each ``(N, 1, C)``."""
    highest, lowest = samples.amax(1, keepdim=True), samples.amin(1, keepdim=True)
    if not signed:
        return None, torch.maximum(highest, -lowest) + EPSILON
    mean = samples.double().mean(1, keepdim=True).float()
    return mean, torch.maximum(highest - mean, mean - lowest) + EPSILON


def _extreme(reduce: Callable[[Tensor, int], Tensor], sample: Tensor) -> Tensor:
    """``reduce`` over pixels, first several beside each other: up to twenty times faster where channels are few."""
    n, channels = sample.shape
    if n < _FOLDED:
        return reduce(sample, 0)
    folds = n // _FOLDED
    folded = reduce(sample[: folds * _FOLDED].view(folds, -1), 0).view(_FOLDED, channels)
    return reduce(torch.cat([folded, sample[folds * _FOLDED :]]), 0)


def bin_index(x: Tensor, shift: Tensor | None, spread: Tensor, bins: int) -> Tensor:
    """Bin of the normalized value (x − shift) / spread on a grid of ``bins`` equal bins over −1…1: int32 in 0…bins − 1.

    A value on an edge belongs to the bin above it, so a tie between two quantization points goes to the upper point.
    What is not a number has some bin.
    """
    half = bins // 2
    normalized = (x if shift is None else x - shift) / spread
    index = normalized.mul_(half).floor_().clamp_(-half, half - 1).to(torch.int32)
    return index.add_(half).clamp_min_(0)  # not a number became some integer, on most processors the least


def restored(values: Tensor, shift: Tensor | None, spread: Tensor) -> Tensor:
    """Normalized ``values`` ``(…, C)`` in the unit of the input."""
    return values * spread if shift is None else values * spread + shift
