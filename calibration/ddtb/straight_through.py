"""Rounding that gradients pass as if nothing had been rounded (the straight-through estimator)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dfsq.quantizers import bounds


class _Round(torch.autograd.Function):
    """Rounds, halves to even; derivative 1 everywhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0]


def rounded(x: Tensor) -> Tensor:
    """``x`` rounded to integers, halves to even."""
    result: Tensor = _Round.apply(x)  # type: ignore[no-untyped-call]
    return result


def quantize(x: Tensor, lower: Tensor, upper: Tensor, bits: int) -> Tensor:
    """:func:`dfsq.quantizers.bounds.quantize` with gradients to all three (DDTB, §3).

    To ``x`` where it is not clipped, to a bound from what it clips; and to both bounds what rounding depends on them:
    (result − clipped) / (upper − lower), with opposite signs.
    """
    result: Tensor = _Quantize.apply(x, lower, upper, bits)  # type: ignore[no-untyped-call]
    return result


class _Quantize(torch.autograd.Function):
    """The graph of straight-through rounding in one piece: a third of the passes over ``x``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, lower: Tensor, upper: Tensor, bits: int) -> Tensor:
        result = bounds.quantize(x, lower, upper, bits)
        ctx.save_for_backward(x, lower, upper, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, lower, upper, result = ctx.saved_tensors
        clipped = torch.clamp(x, lower, upper)
        rounding = (result - clipped).mul_(gradient).sum_to_size(lower.shape) * bounds.per_distance(lower, upper)
        to_upper = torch.where(x > upper, gradient, 0).sum_to_size(upper.shape)
        to_lower = torch.where(x < lower, gradient, 0).sum_to_size(lower.shape)
        return torch.where(x == clipped, gradient, 0), to_lower - rounding, to_upper + rounding, None
