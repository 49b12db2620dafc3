"""Rounding between a lower and an upper bound, to multiples of a step (DDTB, arXiv 2203.03844, §3).

The step divides the distance of the bounds evenly; 0, where it lies between them, is always a level. The end levels may
lie up to half a step outside the bounds.
"""

from __future__ import annotations

import torch
from torch import Tensor

MOST = 2.0**100
"""Largest magnitude of a bound: far below what overflows."""
_LEAST = 2.0**-100
"""Distance up to which bounds have no levels between them: far above what a step could not be divided by."""


def quantize(x: Tensor, lower: Tensor, upper: Tensor, bits: int) -> Tensor:
    """Round ``x`` to one of the :func:`levels`, after clipping it to the bounds: floats, shape of ``x``.

    ``lower`` and ``upper``: floats ``()``, or one a sample, ``(N, 1, …)`` with the axes of ``x``. Halves are rounded to
    even codes. Where ``upper`` is not above ``lower``, every value becomes ``upper``.
    """
    scale, first, last = _grid(lower, upper, bits)
    return _codes(x, lower, upper, scale, first, last).add_(first).div_(scale)


def encode(x: Tensor, lower: Tensor, upper: Tensor, bits: int) -> Tensor:
    """Which of the :func:`levels` :func:`quantize` makes of ``x``: uint8, shape of ``x``, in 0…2^bits − 1."""
    return _codes(x, lower, upper, *_grid(lower, upper, bits)).to(torch.uint8)


def levels(lower: Tensor, upper: Tensor, bits: int) -> Tensor:
    """What the codes 0…2^bits − 1 stand for: floats ``(2^bits, *lower.shape)``, ascending; all alike for one level."""
    scale, first, last = _grid(lower, upper, bits)
    codes = torch.arange(2**bits, dtype=lower.dtype, device=lower.device).view(-1, *[1] * lower.dim())
    return torch.minimum(codes, last).add(first).div(scale)


def per_distance(lower: Tensor, upper: Tensor) -> Tensor:
    """1 / (upper − lower), 0 where there is but one level: floats, shape of the bounds."""
    apart = upper - lower > _LEAST
    return torch.where(apart, 1 / torch.where(apart, upper - lower, 1.0), 0.0)


def _grid(lower: Tensor, upper: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Scale, first and last of a grid: code k in 0…last stands for (k + first) / scale. All have the bounds' shape."""
    steps = 2**bits - 1
    apart = upper - lower > _LEAST
    scale = torch.where(apart, steps / torch.where(apart, upper - lower, 1.0), 1.0)
    first = torch.where(apart, torch.round(lower * scale), upper)
    return scale, first, torch.where(apart, float(steps), 0.0).to(scale)


def _codes(x: Tensor, lower: Tensor, upper: Tensor, scale: Tensor, first: Tensor, last: Tensor) -> Tensor:
    codes = torch.clamp(x, lower, upper).mul_(scale).sub_(first).round_()
    return codes.clamp_max_(last)  # a half at the upper bound may be rounded up; none at the lower one falls below 0
