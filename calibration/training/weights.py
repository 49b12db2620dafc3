"""Latent weights: trained in full precision, and rounded whenever they are used.

They are kept in units of the layer's root mean square, so that one rate suits all layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from calibration.training.levels import nearest_level
from dfsq.quantizers import uniform
from dfsq.quantizers.weights import ColumnScaledWeight, QuantizedWeight, SubsetWeight, UniformWeight


class SubsetLatent(nn.Module):
    """A full-precision weight that is rounded to the points of its output channel; both are trained."""

    unit: Tensor

    def __init__(self, weight: SubsetWeight) -> None:
        """Starts from ``weight`` ``(C_out, …)``: on its points."""
        super().__init__()
        self.bits, self.universal = weight.bits, weight.universal
        values = weight.dequantize()
        self.register_buffer("unit", _unit(values))
        self.latent = nn.Parameter(values / self.unit)
        self.points = nn.Parameter(weight.levels().T.contiguous() / self.unit)

    def forward(self) -> Tensor:
        """The weight ``(C_out, …)``, rounded."""
        return nearest_level(self.latent, self.points.sort(0).values, 0) * self.unit

    def frozen(self) -> SubsetWeight:
        """As it is stored: points to 1/1024 of the channel's largest."""
        points, latent, unit = (each.detach().cpu() for each in (self.points, self.latent, self.unit))
        levels = points.sort(0).values
        scale = levels.abs().amax(0)
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        numerators = (levels / scale * self.universal.denominator).round().long().T.contiguous()
        edges = ((levels[1:] + levels[:-1]) / 2).T.contiguous()
        codes = torch.searchsorted(edges, latent.flatten(1), right=True).to(torch.uint8)
        return SubsetWeight(codes.reshape(latent.shape), scale * unit, numerators, self.bits, self.universal)


class UniformLatent(nn.Module):
    """A full-precision weight that is rounded on a grid which stays as it is."""

    unit: Tensor
    scale: Tensor
    zero_point: Tensor

    def __init__(self, weight: UniformWeight) -> None:
        """Starts from ``weight`` ``(C_out, …)``: on its grid."""
        super().__init__()
        self.bits = weight.bits
        values = weight.dequantize()
        self.register_buffer("unit", _unit(values))
        self.latent = nn.Parameter(values / self.unit)
        self.register_buffer("scale", weight.scale.clone())
        self.register_buffer("zero_point", weight.zero_point.clone())

    def forward(self) -> Tensor:
        """The weight ``(C_out, …)``, rounded; its gradient passes as if it were not."""
        weight = self.latent * self.unit
        codes = uniform.encode(weight.detach(), self.scale, self.zero_point, self.bits)
        return weight + (uniform.decode(codes, self.scale, self.zero_point) - weight).detach()

    def frozen(self) -> UniformWeight:
        """As it is stored."""
        weight, scale, zero_point = (
            each.detach().cpu() for each in (self.latent * self.unit, self.scale, self.zero_point)
        )
        return UniformWeight(uniform.encode(weight, scale, zero_point, self.bits), scale, zero_point, self.bits)


class ColumnScaledLatent(nn.Module):
    """A latent weight in units of its columns, which stay as they are."""

    scales: Tensor

    def __init__(self, weight: ColumnScaledWeight) -> None:
        """Starts from ``weight`` ``(C_out, …)``."""
        super().__init__()
        self.steps = weight.steps
        self.normalized = latent_of(weight.normalized)
        self.register_buffer("scales", weight.column_scales().reshape(weight.codes.shape[1:]))

    def forward(self) -> Tensor:
        """The weight ``(C_out, …)``, rounded."""
        weight: Tensor = self.normalized() * self.scales
        return weight

    def frozen(self) -> ColumnScaledWeight:
        """As it is stored."""
        return ColumnScaledWeight(self.normalized.frozen(), self.steps)


def latent_of(weight: QuantizedWeight) -> SubsetLatent | UniformLatent | ColumnScaledLatent:
    """The trained form of ``weight``, which starts as it is."""
    if isinstance(weight, ColumnScaledWeight):
        return ColumnScaledLatent(weight)
    if isinstance(weight, UniformWeight):
        return UniformLatent(weight)
    assert isinstance(weight, SubsetWeight)
    return SubsetLatent(weight)


def _unit(weight: Tensor) -> Tensor:
    """Root mean square, a scalar; 1 for a weight of zeros."""
    found = weight.detach().square().mean().sqrt()
    return torch.where(found > 0, found, torch.ones_like(found))
