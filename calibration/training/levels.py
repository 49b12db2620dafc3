"""Rounding to the nearest of levels that are trained, with straight-through gradients.

A value's gradient passes where it lies between the first and the last level of its channel, and is nothing beyond. A
level gets the sum of the gradients of the values that were rounded to it, which is exact while no value changes levels.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dfsq.quantizers.native.compiler import compiled


def nearest_level(x: Tensor, levels: Tensor, channel_axis: int) -> Tensor:
    """Replace every value of ``x``, float32, by the nearest of its channel's ``levels``; same shape.

    ``levels``: float32 ``(k, C)``, ascending; a value halfway takes the upper one. Both get gradients.
    """
    rows = x.movedim(channel_axis, -1).contiguous()
    result: Tensor = _Nearest.apply(rows, levels.contiguous())  # type: ignore[no-untyped-call]
    return result.movedim(-1, channel_axis)


class _Nearest(torch.autograd.Function):
    """``x`` ``(…, C)``, contiguous, and ``levels`` ``(k, C)`` to the nearest levels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, levels: Tensor) -> Tensor:
        edges = (levels[1:] + levels[:-1]) / 2
        forward = _round if _library() is None or x.device.type != "cpu" else _round_in_c
        result, codes = forward(x, levels, edges)
        ctx.save_for_backward(codes)
        ctx.points = len(levels)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        (codes,) = ctx.saved_tensors
        back = _pass_back if _library() is None or gradient.device.type != "cpu" else _pass_back_in_c
        return back(gradient.contiguous(), codes, ctx.points)


def _round(x: Tensor, levels: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest levels, and their numbers, int16; inverted bit by bit for values beyond the levels."""
    result, codes = levels[0].expand_as(x), torch.zeros_like(x, dtype=torch.int16)
    for edge, level in zip(edges, levels[1:], strict=True):
        above = x >= edge
        result = torch.where(above, level, result)
        codes += above
    inside = (x >= levels[0]) & (x <= levels[-1])
    return result.contiguous(), torch.where(inside, codes, ~codes)


def _pass_back(gradient: Tensor, codes: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """Gradients of the values and of the levels."""
    rows, flat = gradient.flatten(0, -2), torch.where(codes < 0, ~codes, codes).flatten(0, -2)
    to_levels = torch.stack([torch.where(flat == code, rows, 0).sum(0) for code in range(points)])
    return torch.where(codes < 0, 0, gradient), to_levels


def _round_in_c(x: Tensor, levels: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    result, codes = torch.empty_like(x), torch.empty_like(x, dtype=torch.int16)
    tensors = (each.data_ptr() for each in (x, levels, edges, result, codes))
    _loaded().round_to_levels(*_sizes(x, len(levels)), *tensors, torch.get_num_threads())
    return result, codes


def _pass_back_in_c(gradient: Tensor, codes: Tensor, points: int) -> tuple[Tensor, Tensor]:
    threads = torch.get_num_threads()
    to_x, to_levels = torch.empty_like(gradient), torch.empty(threads, points, gradient.shape[-1])
    tensors = (each.data_ptr() for each in (gradient, codes, to_x, to_levels))
    _loaded().pass_back(*_sizes(gradient, points), *tensors, threads)
    return to_x, to_levels.sum(0)


def _sizes(x: Tensor, points: int) -> tuple[int, int, int]:
    return x[..., 0].numel(), x.shape[-1], points


def _loaded() -> ctypes.CDLL:
    library = _library()
    assert library is not None
    return library


@cache
def _library() -> ctypes.CDLL | None:
    """The C code, compiled when it is first needed; None where there is no compiler."""
    try:
        loaded = compiled("calibration.training", "levels.c")
    except RuntimeError:
        return None
    size, address = ctypes.c_long, ctypes.c_void_p
    loaded.round_to_levels.argtypes = (size, size, size, *[address] * 5, ctypes.c_int)
    loaded.pass_back.argtypes = (size, size, size, *[address] * 4, ctypes.c_int)
    loaded.round_to_levels.restype = loaded.pass_back.restype = None
    return loaded
