"""Quantization points of a layer's input that are trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from calibration.training.levels import nearest_level
from dfsq.nn import SubsetQuantizer
from dfsq.quantizers.normalization import EPSILON
from dfsq.quantizers.universal import UniversalSet


class TrainedPoints(nn.Module):
    """Points of a layer's input, per channel and fixed for all images, in units of the channel's standard deviation."""

    unit: Tensor

    def __init__(self, levels: Tensor, unit: Tensor, bits: int, channel_axis: int) -> None:
        """``levels``: where to start, float32 ``(C, 2^bits)``; ``unit``: standard deviations, ``(C,)``, positive."""
        super().__init__()
        self.bits = bits
        self.channel_axis = channel_axis
        self.register_buffer("unit", unit)
        self.points = nn.Parameter((levels / unit[:, None]).T.contiguous())

    def levels(self) -> Tensor:
        """The points in the unit of the input: ``(2^bits, C)``, ascending."""
        return self.points.sort(0).values * self.unit

    def forward(self, x: Tensor) -> Tensor:
        """``x``, channels on ``channel_axis``, rounded to the points."""
        return nearest_level(x, self.levels(), self.channel_axis)

    def frozen(self) -> SubsetQuantizer:
        """As it is stored: points to 1/2048 of the range that they span, which is fixed per channel."""
        levels, universal = self.levels().detach().cpu(), UniversalSet()
        low, high = levels[0], levels[-1]
        fixed = torch.stack([(low + high) / 2, (high - low) / 2 + EPSILON])
        numerators = ((levels - fixed[0]) / fixed[1] * universal.denominator).round().long().T.contiguous()
        return SubsetQuantizer(numerators, True, self.bits, universal, self.channel_axis, fixed=fixed)
