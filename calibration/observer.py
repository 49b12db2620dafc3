"""Streaming statistics of a layer's input: integer histograms of the normalized values, nothing else is kept."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dfsq.quantizers.normalization import EPSILON, bin_index, channel_statistics
from dfsq.quantizers.universal import UniversalSet

_SAMPLED = 65536
"""Values of a batch that are kept for the histogram of a whole tensor."""


class HistogramObserver:
    """Counts the channel-wise normalized input of one layer on the grid of the universal set.

    Whether the input is non-negative, and so how it is normalized, is only known at the end. Both histograms are
    counted until the first negative value, which settles it. Counts are integers, so neither batch order nor batch size
    changes the result.
    """

    def __init__(self, universal: UniversalSet, channel_axis: int) -> None:
        self._universal = universal
        self._channel_axis = channel_axis
        self._signed: Tensor | None = None
        self._non_negative: Tensor | None = None
        self._spreads = {True: torch.zeros(()), False: torch.zeros(())}
        self._squares = {True: torch.zeros(()), False: torch.zeros(())}
        self.samples = 0
        """How many samples were seen."""
        self.signed = False
        """Whether a negative value was seen."""

    def observe(self, x: Tensor) -> None:
        """Count one batch: samples on axis 0, channels on the layer's channel axis."""
        self.samples += len(x)
        self.signed = self.signed or bool(x.amin() < 0)
        self._signed = self._count(x, True, self._signed)
        self._non_negative = None if self.signed else self._count(x, False, self._non_negative)

    def _count(self, x: Tensor, signed: bool, total: Tensor | None) -> Tensor:
        bins = self._universal.bins
        shift, spread = channel_statistics(x, signed, self._channel_axis)
        self._squares[signed] = self._squares[signed].to(x.device) + spread.square().sum(0).flatten()
        self._spreads[signed] = torch.maximum(self._spreads[signed].to(x.device), spread.amax(0).flatten())
        index = bin_index(x, shift, spread, bins)
        index = index.movedim(self._channel_axis, -1)
        channels = index.shape[-1]
        flat = index + torch.arange(0, channels * bins, bins, device=x.device, dtype=torch.int32)
        counts = torch.bincount(flat.reshape(-1), minlength=channels * bins).view(channels, bins)
        return counts if total is None else total.add_(counts)

    def histogram(self) -> Tensor:
        """Counts per channel and bin over −1…1: int64 ``(C, bins)`` on the CPU.

        Raises RuntimeError before any input was seen.
        """
        counts = self._signed if self.signed else self._non_negative
        if counts is None:
            raise RuntimeError("the layer was never called during calibration")
        return counts.cpu()

    def spread(self) -> Tensor:
        """Largest spread that any sample had, per channel: float32 ``(C,)`` on the CPU."""
        return self._spreads[self.signed].cpu()

    def mean_square_spread(self) -> Tensor:
        """Mean over samples of the squared spread, per channel: float32 ``(C,)`` on the CPU."""
        return self._squares[self.signed].cpu() / self.samples


class TensorObserver:
    """Sees the values of a whole tensor, for ranges that are fixed before the network runs."""

    signed = True

    def __init__(self, universal: UniversalSet) -> None:
        self._universal = universal
        self._low, self._high = math.inf, -math.inf
        self._sampled: list[Tensor] = []
        self.samples = 0
        """How many samples were seen."""

    def observe(self, x: Tensor) -> None:
        """Count one batch."""
        self.samples += len(x)
        self._low, self._high = min(self._low, float(x.amin())), max(self._high, float(x.amax()))
        values = x.flatten()
        self._sampled.append(values[:: max(1, len(values) // _SAMPLED)].cpu())

    def fixed(self) -> Tensor:
        """Middle and half the width of the range: float32 ``(2,)``."""
        return torch.tensor([(self._low + self._high) / 2, (self._high - self._low) / 2 + EPSILON])

    def histogram(self) -> Tensor:
        """Counts per bin over the range: int64 ``(1, bins)``. Raises RuntimeError before any input was seen."""
        if not self._sampled:
            raise RuntimeError("the layer was never called during calibration")
        shift, spread = self.fixed()
        index = bin_index(torch.cat(self._sampled), shift, spread, self._universal.bins)
        return torch.bincount(index, minlength=self._universal.bins)[None]
