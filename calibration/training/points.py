"""Quantization points of a layer's input that are trained."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from calibration.training.levels import nearest_level
from dfsq.nn import SubsetQuantizer
from dfsq.quantizers.blocks import cut, joined, within
from dfsq.quantizers.normalization import EPSILON, by_sample


class TrainedPoints(nn.Module):
    """Points of a layer's input, a row of them for every channel."""

    unit: Tensor

    def __init__(self, quantizer: SubsetQuantizer, levels: Tensor, unit: Tensor) -> None:
        """``quantizer``: where to start; ``levels``: its points, float32 ``(C, 2^bits)``; ``unit``: what one step of
        its rate is worth, ``(C,)``, positive."""
        super().__init__()
        self.bits, self.universal, self.signed = quantizer.bits, quantizer.universal, quantizer.signed
        self.channel_axis = quantizer.channel_axis
        self.feedback = quantizer.feedback
        self.register_buffer("unit", unit)
        self.points = nn.Parameter((levels / unit[:, None]).T.contiguous())

    def sorted(self) -> Tensor:
        """The points, ``(2^bits, C)``, ascending."""
        return self.points.sort(0).values * self.unit

    def forward(self, x: Tensor) -> Tensor:
        """``x``, samples on axis 0, channels on ``channel_axis``, rounded to the points."""
        return nearest_level(x, self.levels(x.detach()), self.channel_axis, self.feedback)

    @abstractmethod
    def levels(self, x: Tensor) -> Tensor:
        """The points in the unit of ``x``: ``(2^bits, C)``, or ``(N, 2^bits, C)`` for every sample; ascending."""

    @abstractmethod
    def frozen(self) -> SubsetQuantizer:
        """As it is stored."""


class FixedPoints(TrainedPoints):
    """Points that are the same for all images, in units of the channel's standard deviation."""

    def __init__(self, quantizer: SubsetQuantizer, unit: Tensor) -> None:
        """``quantizer`` with ``fixed`` ranges; ``unit``: standard deviations, ``(C,)``, positive."""
        assert quantizer.fixed is not None
        shift, spread = quantizer.fixed.view(2, -1, 1)
        super().__init__(quantizer, quantizer.universal.values(quantizer.points) * spread + shift, unit)

    def levels(self, x: Tensor) -> Tensor:
        """The points, whatever ``x``."""
        del x
        return self.sorted()

    def frozen(self) -> SubsetQuantizer:
        """As it is stored: points to 1/2048 of the range that they span, which is fixed per channel."""
        levels = self.sorted().detach().cpu()
        low, high = levels[0], levels[-1]
        fixed = torch.stack([(low + high) / 2, (high - low) / 2 + EPSILON])
        numerators = ((levels - fixed[0]) / fixed[1] * self.universal.denominator).round().long().T.contiguous()
        return SubsetQuantizer(
            numerators, True, self.bits, self.universal, self.channel_axis, feedback=self.feedback, fixed=fixed
        )


class SamplePoints(TrainedPoints):
    """Points in units of the range that a sample's channel has (DFSQ §3.1); gradients take the range as given."""

    limit: Tensor | None
    reach: Tensor | None

    def __init__(self, quantizer: SubsetQuantizer) -> None:
        """``quantizer``: without ``fixed`` ranges."""
        points = quantizer.universal.values(quantizer.points)
        super().__init__(quantizer, points, points.square().mean(1).sqrt().clamp_min(1 / 64))
        limit = None if quantizer.limit is None else quantizer.limit.clone()  # not made for inference alone
        self.register_buffer("limit", limit, persistent=False)
        reach = None if quantizer.reach is None else quantizer.reach.clone()
        self.register_buffer("reach", reach, persistent=False)
        self.block = quantizer.block

    def forward(self, x: Tensor) -> Tensor:
        """As :meth:`TrainedPoints.forward`; where there are blocks, each is a sample of its own."""
        if self.block is None:
            return super().forward(x)
        ordered = within(x.movedim(self.channel_axis, -1), self.reach)
        blocks = cut(ordered, self.block)
        rounded = nearest_level(blocks, self._in_range(blocks.detach()), 2, self.feedback)
        return joined(rounded, ordered.shape, self.block).movedim(-1, self.channel_axis)

    def levels(self, x: Tensor) -> Tensor:
        """The points in the range of every sample."""
        return self._in_range(by_sample(x, self.channel_axis))

    def _in_range(self, samples: Tensor) -> Tensor:
        """The points in the range of each of ``samples`` ``(N, n, C)``."""
        low, high = samples.amin(1), samples.amax(1)
        shift = samples.mean(1) if self.signed else torch.zeros_like(low)
        spread = torch.maximum(high - shift, shift - low) + EPSILON
        if self.limit is not None:
            spread = torch.minimum(spread, self.limit)
        return shift[:, None] + spread[:, None] * self.sorted().clamp(-1, 1)

    def frozen(self) -> SubsetQuantizer:
        """As it is stored: points to 1/1024 of the range."""
        most = self.universal.denominator
        numerators = (self.sorted().detach().cpu().clamp(-1, 1) * most).round().long().T.contiguous()
        limit, reach = (None if each is None else each.cpu() for each in (self.limit, self.reach))
        return SubsetQuantizer(
            numerators,
            self.signed,
            self.bits,
            self.universal,
            self.channel_axis,
            limit,
            self.feedback,
            block=self.block,
            reach=reach,
        )


def trained_points(quantizer: SubsetQuantizer, unit: Tensor) -> TrainedPoints:
    """The trained form of ``quantizer``, whose channels have the standard deviations ``unit`` ``(C,)``."""
    return SamplePoints(quantizer) if quantizer.fixed is None else FixedPoints(quantizer, unit)
