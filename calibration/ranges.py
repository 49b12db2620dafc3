"""Ranges of static integer activations: a scale and a zero point per tensor, and factors that equalize its channels."""

from __future__ import annotations

import torch
from torch import Tensor

from calibration.observer import TensorObserver
from dfsq import distributed
from dfsq.nn import AffineQuantizer
from dfsq.quantizers import uniform

PERCENTILE = 0.999
"""Share of the values that the range of ``percentile`` leaves inside, on either side."""
_SHRINKING = torch.linspace(1, 0.2, 33).tolist()
"""Ranges that ``mse`` tries, as shares of the full one."""
_IMAGE_STEPS = (1 / 255, 1.0)
"""Steps of an image of 8 bits, in the ranges 0–1 and 0–255."""
_FLATTEST = 1 / 1024
"""Least factor of a channel against the largest: beyond that its weights would drown in those of the others."""


class ChannelRanges:
    """The extremes of every channel of one layer's input."""

    def __init__(self, channel_axis: int) -> None:
        self._channel_axis = channel_axis
        self._low: Tensor | None = None
        self._high: Tensor | None = None
        self._steps: tuple[float, ...] = _IMAGE_STEPS
        self.samples = 0
        """How many samples were seen."""

    def observe(self, x: Tensor) -> None:
        """Take in one batch: samples on axis 0, channels on the layer's channel axis."""
        self.samples += len(x)
        rows = x.movedim(self._channel_axis, 0).flatten(1)
        self._include(rows.amin(1), rows.amax(1))
        self._steps = tuple(step for step in self._steps if _is_image(rows, step))

    def _include(self, low: Tensor, high: Tensor) -> None:
        self._low = low if self._low is None else torch.minimum(self._low, low)
        self._high = high if self._high is None else torch.maximum(self._high, high)

    def widen(self, other: ChannelRanges | None) -> None:
        """Reach as far as ``other``; whether all that was seen is an image is not changed by that."""
        if other is not None and other._low is not None and other._high is not None:
            self._include(other._low, other._high)

    def reduce(self, device: torch.device) -> None:
        """Put together what this layer's observers in all processes have seen."""
        del device  # a few numbers, which travel as they are
        seen = distributed.gather((self.samples, self._low, self._high, self._steps))
        self.samples = sum(samples for samples, *_ in seen)
        for _, low, high, steps in seen:
            if low is not None and high is not None:
                self._include(low, high)
                self._steps = tuple(step for step in self._steps if step in steps)

    def limits(self) -> tuple[Tensor, Tensor]:
        """Least and largest value per channel, widened to include 0: float64 ``(C,)`` on the CPU, twice.

        Raises RuntimeError before any input was seen.
        """
        if self._low is None or self._high is None:
            raise RuntimeError("the layer was never called during calibration")
        return self._low.double().cpu().clamp(max=0), self._high.double().cpu().clamp(min=0)

    def image_step(self) -> float | None:
        """The distance of neighbouring values where all that was seen is an image of 8 bits, else None."""
        return self._steps[0] if self._steps else None


def fixed_range(selector: str, observer: TensorObserver, bits: int, channel_axis: int) -> AffineQuantizer:
    """The grid for a whole tensor whose range is chosen by ``minmax``, ``percentile`` or ``mse``."""
    values, counts = observer.values()
    low, high = observer.limits()
    if selector == "percentile":
        outside = (1 - PERCENTILE) * counts.sum()
        from_below, from_above = counts.cumsum(0), counts.flip(0).cumsum(0).flip(0)
        low, high = values[from_below > outside].min().item(), values[from_above > outside].max().item()
    shares = _SHRINKING if selector == "mse" else [1.0]
    grids = [_grid(share * min(low, 0.0), share * max(high, 0.0), bits) for share in shares]
    errors = [counts @ (_rounded(values, *grid, bits) - values).square() for grid in grids]
    return AffineQuantizer(*grids[int(torch.stack(errors).argmin())], bits, channel_axis=channel_axis)


def equalized(
    ranges: ChannelRanges, bits: int, weights: Tensor | None, headroom: float | None, channel_axis: int
) -> AffineQuantizer:
    """The grid with factors that let every channel use all codes, up to ``headroom`` times what was seen of it.

    All channels share the zero point z. A channel from l to h needs steps of max(h / (2^b − 1 − z), −l / z); of all z
    that one is taken at which the squares of the steps, with ``weights`` ``(C,)``, have the least sum. An image of as
    many bits is kept as it is.
    """
    levels = 2**bits - 1
    step = ranges.image_step()
    if step is not None and bits == 8:
        return AffineQuantizer(step, 0, bits, channel_axis=channel_axis)
    low, high = (limit * (headroom or 1.0) for limit in ranges.limits())
    codes = torch.arange(levels + 1, dtype=torch.float64)[:, None]
    steps = torch.maximum(_needed(high, levels - codes), _needed(-low, codes))
    costs = steps.square() @ (torch.ones_like(low) if weights is None else weights)
    zero_point = int(costs.argmin())
    steps = steps[zero_point]
    largest = steps.max().item() or 1.0  # a tensor of zeros
    steps = steps.clamp(min=_FLATTEST * largest)
    return AffineQuantizer(largest, zero_point, bits, (steps / largest).float(), channel_axis)


def for_tensor(ranges: ChannelRanges, bits: int, headroom: float | None, channel_axis: int) -> AffineQuantizer:
    """The grid for a whole tensor that all its channels share, up to ``headroom`` times what was seen of it.

    An image is kept as it is.
    """
    step = ranges.image_step()
    if step is not None and bits == 8:
        return AffineQuantizer(step, 0, bits, channel_axis=channel_axis)
    low, high = (limit * (headroom or 1.0) for limit in ranges.limits())
    return AffineQuantizer(*_grid(float(low.min()), float(high.max()), bits), bits, channel_axis=channel_axis)


def _needed(reach: Tensor, codes: Tensor) -> Tensor:
    """Steps with which ``codes`` ``(z, 1)`` of them reach as far as ``reach`` ``(C,)``; infinite for none of them."""
    return torch.where(reach > 0, reach / codes, 0.0)


def _is_image(values: Tensor, step: float) -> bool:
    codes = values / step
    return bool(codes.amin() >= 0 and codes.amax() <= 255.5 and (codes - codes.round()).abs().amax() < 1e-3)


def _grid(low: float, high: float, bits: int) -> tuple[float, int]:
    scale, zero_point = uniform.grid(torch.tensor([low]), torch.tensor([high]), bits)
    return scale.item(), int(zero_point.item())


def _rounded(values: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    codes = (values / scale + zero_point).round().clamp(0, 2**bits - 1)
    return (codes - zero_point) * scale
