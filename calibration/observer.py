"""Streaming statistics of a layer's input: integer histograms and extremes, nothing else is kept.

Neither depends on the order of the images, on how they are cut into batches, or on which process has seen which.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from calibration import native
from calibration.counting import count_blocks, count_samples
from dfsq import distributed
from dfsq.quantizers.normalization import EPSILON, bin_index, by_sample
from dfsq.quantizers.universal import UniversalSet

_SAMPLED = 8192
"""Values of an image that are counted at least for the histogram of a whole tensor, evenly spaced."""
_HALF = 2**15
"""Bins on either side of zero for the values of a whole tensor."""
_TINY = 2.0**-100
"""Smallest reach of these bins, for tensors of zeros."""


def lowest_and_reach(x: Tensor, channel_axis: int) -> tuple[Tensor, Tensor]:
    """The lowest value and the largest magnitude of every channel of ``x``: ``(C,)`` each."""
    lowest, highest = torch.aminmax(x.movedim(channel_axis, -1).flatten(0, -2), dim=0)
    return lowest, torch.maximum(highest, -lowest)


class HistogramObserver:
    """Counts the channel-wise normalized input of one layer on the grid of the universal set.

    Whether the input is non-negative, and so how it is normalized, is only known at the end. Both histograms are
    counted until the first negative value, which settles it.
    """

    def __init__(self, universal: UniversalSet, channel_axis: int, block: int | None = None) -> None:
        """``block``: inputs are maps, of which every square of so many pixels a side is normalized by itself.

        Its values count by the square of its spread, as a share of the map's: so much does the same error weigh there.
        """
        self._universal = universal
        self._channel_axis = channel_axis
        self._block = block
        self._counts: dict[bool, Tensor] = {}
        self._spreads: dict[bool, Tensor] = {}
        self._reach: Tensor | None = None
        self.samples = 0
        """How many samples were seen."""
        self.signed = False
        """Whether a negative value was seen."""

    def observe(self, x: Tensor) -> None:
        """Count one batch: samples on axis 0, channels on the layer's channel axis."""
        self.samples += len(x)
        lowest, reach = lowest_and_reach(x, self._channel_axis)
        self.signed = self.signed or bool(lowest.amin() < 0)
        self._reach = reach if self._reach is None else torch.maximum(self._reach, reach)
        channels = len(reach)
        for signed in (True,) if self.signed else (True, False):
            if signed not in self._counts:
                self._counts[signed] = torch.zeros(self._universal.bins, channels, dtype=torch.int64, device=x.device)
                self._spreads[signed] = torch.zeros(channels, device=x.device)
            for largest in self._counted(x, self._counts[signed], signed):
                self._spreads[signed] = torch.maximum(self._spreads[signed], largest)

    def _counted(self, x: Tensor, counts: Tensor, signed: bool) -> Iterator[Tensor]:
        """Count what is normalized by itself, some at a time: blocks of one map, or samples. Gives their spreads."""
        if self._block is not None:
            count = native.count_blocks if native.available(x) else count_blocks
            for each in x.movedim(self._channel_axis, -1):
                yield count(counts, each, self._block, signed)
        else:
            samples = by_sample(x, self._channel_axis)
            # Windows of transformers are samples too, and have fewer values than there are bins.
            for some in torch.split(samples, max(1, self._universal.bins // samples.shape[1])):
                yield count_samples(counts, some, signed)

    def reduce(self, device: torch.device) -> None:
        """Add up what this layer's observers in all processes have seen, on ``device``."""
        own = self._counts.get(True)
        seen = distributed.gather((self.samples, self.signed, 0 if own is None else own.shape[1]))
        self.samples, self.signed = sum(samples for samples, _, _ in seen), any(signed for _, signed, _ in seen)
        channels = max(channels for _, _, channels in seen)
        if channels:
            counts = self._counts.get(self.signed)
            if counts is None:  # this process was given no images
                counts = torch.zeros(self._universal.bins, channels, dtype=torch.int64, device=device)
                self._spreads[self.signed] = torch.zeros(channels, device=device)
            self._counts[self.signed] = distributed.total(counts)
            self._spreads[self.signed] = distributed.largest(self._spreads[self.signed])
            reach = torch.zeros(channels, device=device) if self._reach is None else self._reach
            self._reach = distributed.largest(reach)

    def histogram(self) -> Tensor:
        """Counts per channel and bin over −1…1: int64 ``(C, bins)`` on the CPU.

        Raises RuntimeError before any input was seen.
        """
        if self.signed not in self._counts:
            raise RuntimeError("the layer was never called during calibration")
        return self._counts[self.signed].T.contiguous().cpu()

    def spread(self) -> Tensor:
        """Largest spread that any sample had, per channel: float32 ``(C,)`` on the CPU."""
        return self._spreads[self.signed].cpu()

    def reach(self) -> Tensor:
        """Largest magnitude of all, per channel: float32 ``(C,)`` on the CPU, above 0."""
        if self._reach is None:
            raise RuntimeError("the layer was never called during calibration")
        return self._reach.cpu() + EPSILON


class TensorObserver:
    """Counts the values of a whole tensor, for ranges that are fixed before the network runs.

    The range is only known at the end. Bins reach to a power of two on either side of zero; where a value lies beyond,
    neighbours are merged until they reach that far: the result is as if they always had.
    """

    signed = True

    def __init__(self, universal: UniversalSet) -> None:
        self._universal = universal
        self._low, self._high = math.inf, -math.inf
        self._exponent = math.frexp(_TINY)[1]
        self._counts = torch.zeros(2 * _HALF, dtype=torch.int64)
        self.samples = 0
        """How many samples were seen."""

    def observe(self, x: Tensor) -> None:
        """Count one batch."""
        self.samples += len(x)
        low, high = float(x.amin()), float(x.amax())
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._extend(math.frexp(max(-low, high, _TINY))[1])
        values = x.flatten(1)
        values = values[:, :: max(1, values.shape[1] // _SAMPLED)].flatten()
        index = (values * (_HALF * 2.0**-self._exponent)).floor_().clamp_(-_HALF, _HALF - 1).int() + _HALF
        self._counts += torch.bincount(index, minlength=2 * _HALF).cpu()

    def _extend(self, exponent: int) -> None:
        """Merge bins until they reach to 2^``exponent`` at least."""
        if exponent > self._exponent:
            merged = 2 ** min(exponent - self._exponent, _HALF.bit_length() - 1)
            counts = self._counts.view(-1, merged).sum(1)
            outside = _HALF - len(counts) // 2
            self._counts = torch.nn.functional.pad(counts, (outside, outside))
            self._exponent = exponent

    def reduce(self, device: torch.device) -> None:
        """Add up what this layer's observers in all processes have seen, on ``device``."""
        seen = distributed.gather((self.samples, self._low, self._high, self._exponent))
        samples, lows, highs, exponents = zip(*seen, strict=True)
        self.samples, self._low, self._high = sum(samples), min(lows), max(highs)
        self._extend(max(exponents))
        self._counts = distributed.total(self._counts.to(device)).cpu()

    def limits(self) -> tuple[float, float]:
        """Least and largest value seen. Raises RuntimeError before any input was seen."""
        if not self.samples:
            raise RuntimeError("the layer was never called during calibration")
        return self._low, self._high

    def values(self) -> tuple[Tensor, Tensor]:
        """Centres of the bins and how many values each counts: two float64 tensors of one axis."""
        used = self._counts.nonzero()[:, 0]
        return (used.double() - _HALF + 0.5) * (2.0**self._exponent / _HALF), self._counts[used].double()

    def fixed(self) -> Tensor:
        """Middle and half the width of the range: float32 ``(2,)``."""
        return torch.tensor([(self._low + self._high) / 2, (self._high - self._low) / 2 + EPSILON])

    def histogram(self) -> Tensor:
        """Counts per bin over the range: int64 ``(1, bins)``. Raises RuntimeError before any input was seen."""
        if not self.samples:
            raise RuntimeError("the layer was never called during calibration")
        shift, spread = self.fixed()
        centers = (torch.arange(-_HALF, _HALF) + 0.5) * (2.0**self._exponent / _HALF)
        index = bin_index(centers, shift, spread, self._universal.bins)
        counts = torch.zeros(self._universal.bins, dtype=torch.int64)
        return counts.index_add_(0, index, self._counts)[None]
