"""Rounding that gradients pass as if nothing had been rounded (the straight-through estimator)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dfsq.quantizers import bounds


class _Round(torch.autograd.Function):
    """Rounds, halves to even, and takes at most ``most``; derivative 1 everywhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, most: Tensor | None) -> Tensor:
        result = x.round()
        return result if most is None else result.clamp_max_(most)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, None]:
        return gradients[0], None


def rounded(x: Tensor, most: Tensor | None = None) -> Tensor:
    """``x`` rounded to integers, halves to even, and to ``most`` where it is above that."""
    result: Tensor = _Round.apply(x, most)  # type: ignore[no-untyped-call]
    return result


def quantize(x: Tensor, lower: Tensor, upper: Tensor, bits: int) -> Tensor:
    """:func:`dfsq.quantizers.bounds.quantize` to the bit, with gradients to all three (DDTB, §3).

    To ``x`` where it is not clipped, to a bound from what it clips; and to both bounds what rounding depends on them:
    (result − clipped) / (upper − lower), with opposite signs.
    """
    scale, first, last = bounds.grid(lower, upper, bits, rounded)
    return (rounded(torch.clamp(x, lower, upper) * scale - first, last) + first) / scale
