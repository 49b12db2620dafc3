"""Rounding to the nearest of levels that are trained, with straight-through gradients.

A value's gradient passes where it lies between the first and the last level of its channel, and is nothing beyond. A
level gets the sum of the gradients of the values that were rounded to it, which is exact while no value changes levels.
What error feedback hands on counts as if it did not depend on either.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dfsq.nn import ErrorFeedback
from dfsq.quantizers.native.compiler import compiled

_PIXELS = 32
"""Rounded together where channels wait for one another: as in levels.c."""


def nearest_level(x: Tensor, levels: Tensor, channel_axis: int, feedback: ErrorFeedback | None = None) -> Tensor:
    """Replace every value of ``x``, float32, by the nearest of its channel's ``levels``; same shape.

    ``levels``: float32 ``(k, C)``, ascending, or ``(N, k, C)`` for the samples on axis 0; a value halfway takes the
    upper one. Both get gradients. ``feedback``: what rounding takes from a channel is handed on to others.
    """
    rows = x.movedim(channel_axis, -1).contiguous()
    own = levels.view(-1, *levels.shape[-2:]).contiguous()
    result: Tensor = _Nearest.apply(rows.view(len(own), -1, x.shape[channel_axis]), own, feedback)  # type: ignore[no-untyped-call]
    return result.view(rows.shape).movedim(-1, channel_axis)


class _Nearest(torch.autograd.Function):
    """``x`` ``(S, n, C)``, contiguous, and ``levels`` ``(S, k, C)`` to the nearest levels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, levels: Tensor, feedback: ErrorFeedback | None) -> Tensor:
        edges = (levels[:, 1:] + levels[:, :-1]) / 2
        in_c = _library() is not None and x.device.type == "cpu"
        if feedback is not None:
            result, codes = (_feed_back_in_c if in_c else _feed_back)(x, levels, edges, feedback)
        else:
            result, codes = (_round_in_c if in_c else _round)(x, levels, edges)
        ctx.save_for_backward(codes)
        ctx.points = levels.shape[1]
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        (codes,) = ctx.saved_tensors
        back = _pass_back if _library() is None or gradient.device.type != "cpu" else _pass_back_in_c
        return *back(gradient.contiguous(), codes, ctx.points), None


def _round(x: Tensor, levels: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest levels, and their numbers, int16; inverted bit by bit for values beyond the levels."""
    result, codes = levels[:, :1].expand_as(x), torch.zeros_like(x, dtype=torch.int16)
    for number in range(1, levels.shape[1]):
        above = x >= edges[:, number - 1 : number]
        result = torch.where(above, levels[:, number : number + 1], result)
        codes += above
    inside = (x >= levels[:, :1]) & (x <= levels[:, -1:])
    return result.contiguous(), torch.where(inside, codes, ~codes)


def _feed_back(x: Tensor, levels: Tensor, edges: Tensor, feedback: ErrorFeedback) -> tuple[Tensor, Tensor]:
    """As :func:`_round`, channel by channel in the order of ``feedback``."""
    results, codes, errors = torch.empty_like(x), torch.empty_like(x, dtype=torch.int16), torch.empty_like(x)
    for place, channel in enumerate(feedback.order.tolist()):
        at = (..., slice(channel, channel + 1))
        values = x[at] - errors[..., :place] @ feedback.shares[place, :place, None]
        results[at], codes[at] = _round(values, levels[at], edges[at])
        errors[..., place] = (values - results[at])[..., 0]
    return results, codes


def _pass_back(gradient: Tensor, codes: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """Gradients of the values and of the levels."""
    numbers = torch.where(codes < 0, ~codes, codes)
    to_levels = torch.stack([torch.where(numbers == code, gradient, 0).sum(1) for code in range(points)], 1)
    return torch.where(codes < 0, 0, gradient), to_levels


def _round_in_c(x: Tensor, levels: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    result, codes = torch.empty_like(x), torch.empty_like(x, dtype=torch.int16)
    tensors = (each.data_ptr() for each in (x, levels, edges, result, codes))
    _loaded().round_to_levels(*x.shape, levels.shape[1], *tensors, torch.get_num_threads())
    return result, codes


def _feed_back_in_c(x: Tensor, levels: Tensor, edges: Tensor, feedback: ErrorFeedback) -> tuple[Tensor, Tensor]:
    threads = torch.get_num_threads()
    result, codes = torch.empty_like(x), torch.empty_like(x, dtype=torch.int16)
    memory = x.new_empty(threads, x.shape[-1], _PIXELS)
    tensors = (x, levels, edges, feedback.order, feedback.shares, memory, result, codes)
    addresses = [each.data_ptr() for each in tensors]
    _loaded().round_with_feedback(*x.shape, levels.shape[1], *addresses, threads)
    return result, codes


def _pass_back_in_c(gradient: Tensor, codes: Tensor, points: int) -> tuple[Tensor, Tensor]:
    threads = torch.get_num_threads()
    samples, pixels, channels = gradient.shape
    parts = threads if samples == 1 else samples
    to_x, to_levels = torch.empty_like(gradient), torch.empty(parts, points, channels)
    tensors = (each.data_ptr() for each in (gradient, codes, to_x, to_levels))
    _loaded().pass_back(samples * pixels, channels, points, *tensors, parts, threads)
    return to_x, to_levels.sum(0, keepdim=True) if samples == 1 else to_levels


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
    loaded.round_to_levels.argtypes = (*[size] * 4, *[address] * 5, ctypes.c_int)
    loaded.round_with_feedback.argtypes = (*[size] * 4, *[address] * 8, ctypes.c_int)
    loaded.pass_back.argtypes = (*[size] * 3, *[address] * 4, ctypes.c_int, ctypes.c_int)
    loaded.round_to_levels.restype = loaded.round_with_feedback.restype = loaded.pass_back.restype = None
    return loaded
