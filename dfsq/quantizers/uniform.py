"""Uniform asymmetric quantization per output channel: the weights of the DFSQ paper (§4.1)."""

from __future__ import annotations

import torch
from torch import Tensor


def minmax_range(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest weight of every output channel (axis 0), widened to include 0: two float tensors ``(C,)``."""
    rows = weight.flatten(1)
    return rows.amin(1).clamp(max=0), rows.amax(1).clamp(min=0)


def grid(low: Tensor, high: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Scale and zero point of the ranges ``low`` ≤ 0 ≤ ``high``, each ``(C,)``.

    The scale is positive; the zero point is a float that holds an integer in 0…2^bits − 1.
    """
    levels = 2**bits - 1
    scale = (high - low) / levels
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))  # an all-zero channel
    return scale, (-low / scale).round().clamp(0, levels)


def symmetric_grid(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Scale and zero point of a grid about zero for every output channel of ``weight`` ``(C, …)``, each ``(C,)``.

    The zero point is 2^(bits − 1): codes stand for the integers −2^(bits − 1)…2^(bits − 1) − 1.
    """
    half = 2 ** (bits - 1)
    scale = weight.flatten(1).abs().amax(1) / (half - 0.5)
    return torch.where(scale > 0, scale, torch.ones_like(scale)), torch.full_like(scale, half)


def encode(weight: Tensor, scale: Tensor, zero_point: Tensor, bits: int) -> Tensor:
    """Codes of ``weight`` ``(C, …)``: uint8 of the same shape, in 0…2^bits − 1."""
    rows = weight.flatten(1) / scale[:, None] + zero_point[:, None]
    return rows.round().clamp(0, 2**bits - 1).to(torch.uint8).reshape(weight.shape)


def decode(codes: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Weights that the codes stand for: float32 of the same shape."""
    rows = (codes.flatten(1).float() - zero_point[:, None]) * scale[:, None]
    return rows.reshape(codes.shape)


def mse_range(weight: Tensor, bits: int, steps: int = 80) -> tuple[Tensor, Tensor]:
    """Range per output channel that minimises the squared rounding error.

    Both ends shrink together from the min–max range to a fifth of it in ``steps`` steps; the best one is kept per
    channel.
    """
    low, high = minmax_range(weight)
    best = torch.full_like(low, torch.inf)
    best_low, best_high = low, high
    for fraction in torch.linspace(1.0, 0.2, steps).tolist():
        scale, zero_point = grid(low * fraction, high * fraction, bits)
        rounded = decode(encode(weight, scale, zero_point, bits), scale, zero_point)
        error = (rounded - weight).flatten(1).square().sum(1)
        better = error < best
        best = torch.where(better, error, best)
        best_low = torch.where(better, low * fraction, best_low)
        best_high = torch.where(better, high * fraction, best_high)
    return best_low, best_high
