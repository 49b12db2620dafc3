"""Rounding to an evenly spaced grid with an integer zero point, as ONNX's QuantizeLinear and DequantizeLinear do it."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op("dfsq::affine", mutates_args=())
def _operator(
    x: Tensor, steps: Tensor, zero_points: Tensor, scale: Tensor, zero_point: Tensor, bits: int, axis: int
) -> Tensor:
    return _fake_quantize(x, steps, zero_points, scale, zero_point, bits, axis)


@_operator.register_fake
def _(x: Tensor, steps: Tensor, zero_points: Tensor, scale: Tensor, zero_point: Tensor, bits: int, axis: int) -> Tensor:
    return torch.empty_like(x)


def fake_quantize(
    x: Tensor, steps: Tensor, zero_points: Tensor, scale: Tensor, zero_point: Tensor, bits: int, axis: int
) -> Tensor:
    """(clamp(round(x / steps) + zero_points, 0, 2^bits − 1) − zero_point) · scale: float32, shape of ``x``.

    ``steps`` float32 and ``zero_points`` uint8: ``()``, or a value per entry of ``axis``; ``scale`` and ``zero_point``
    are scalars. Halves are rounded to even. To an exporter it is one operator, ``torch.ops.dfsq.affine``.
    """
    run = _operator if torch.compiler.is_exporting() else _fake_quantize
    result: Tensor = run(x, steps, zero_points, scale, zero_point, bits, axis)
    return result


def _fake_quantize(
    x: Tensor, steps: Tensor, zero_points: Tensor, scale: Tensor, zero_point: Tensor, bits: int, axis: int
) -> Tensor:
    if steps.dim():
        shape = [1] * x.dim()
        shape[axis] = len(steps)
        steps, zero_points = steps.view(shape), zero_points.view(shape)
    codes = torch.div(x, steps).round_().add_(zero_points).clamp_(0, 2**bits - 1)
    return codes.sub_(zero_point).mul_(scale)
