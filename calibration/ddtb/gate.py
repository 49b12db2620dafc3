"""The gate while it is trained (DDTB, dynamic gate).

As it is meant: a gradient reaches all of it, while in the code that was published the first product stays random; and
ranges are those of a sample, not of the batch that it happens to be in.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calibration.ddtb.straight_through import quantize, rounded
from dfsq.nn import Gate
from dfsq.nn.gate import BITS, HIDDEN

_EPSILON = 1e-8
"""Keeps weights that are all zero from dividing by zero."""


class TrainableGate(nn.Module):
    """Two products with latent weights that are rounded to −m, 0 and m, batch normalization and ReLU between them."""

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        """``generator``, on the CPU, draws the weights: uniform, up to one over the square root of the inputs."""
        super().__init__()
        self.first = nn.Parameter(_drawn(HIDDEN, channels, generator))
        self.norm = nn.BatchNorm1d(HIDDEN)
        self.second = nn.Parameter(_drawn(2, HIDDEN, generator))

    def forward(self, means: Tensor) -> Tensor:
        """Map means of channels ``(N, C)`` to logits ``(N, 2)``, upper before lower: factors are 2·sigmoid of them.

        In training N is at least 2, as batch normalization demands.
        """
        hidden = F.relu(self.norm(F.linear(_two_bits(means), _ternary(self.first))))
        return F.linear(_two_bits(hidden), _ternary(self.second))

    @torch.no_grad()
    def frozen(self) -> Gate:
        """What an artifact stores: packed weights, normalization by what was seen in training."""
        norm, first, second = self.norm, _magnitude(self.first), _magnitude(self.second)
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        return Gate(
            (self.first / first).round().to(torch.int8),
            (self.second / second).round().to(torch.int8),
            torch.stack((first, second)),
            scale,
            norm.bias - norm.running_mean * scale,
        )


def _drawn(outputs: int, inputs: int, generator: torch.Generator) -> Tensor:
    return (2 * torch.rand(outputs, inputs, generator=generator) - 1) / sqrt(inputs)


def _two_bits(rows: Tensor) -> Tensor:
    """``rows`` ``(N, C)``, each rounded between its own extremes."""
    limits = rows.detach()
    return quantize(rows, limits.amin(1, keepdim=True), limits.amax(1, keepdim=True), BITS)


def _ternary(weight: Tensor) -> Tensor:
    magnitude = _magnitude(weight)
    return rounded(weight / magnitude) * magnitude


def _magnitude(weight: Tensor) -> Tensor:
    return weight.detach().abs().amax() + _EPSILON
