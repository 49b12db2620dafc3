"""Weights while they are trained: rounded between bounds that follow them (DDTB, §3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from calibration.ddtb.percentile import percentile
from calibration.ddtb.straight_through import quantize
from dfsq.quantizers.weights import BoundsWeight


@dataclass(frozen=True)
class WeightRounding:
    """How a whole weight tensor is rounded. Nothing of it is trained but the weights themselves."""

    bits: int
    percent: float | None
    """Above 50, below 100: what lies beyond this percentile, and as far from the other end, is clipped and gets no
    gradient (EDSR and SRResNet: 99). None: least and largest weight are the bounds (RDN)."""

    def __call__(self, weight: Tensor) -> Tensor:
        """``weight`` as it is rounded now, for the forward pass."""
        return quantize(weight, *self.bounds(weight), self.bits)

    @torch.no_grad()
    def bounds(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper bound of ``weight`` as it is now, each ``()``."""
        if self.percent is None:
            return weight.amin(), weight.amax()
        return percentile(weight, 100 - self.percent), percentile(weight, self.percent)

    def frozen(self, weight: Tensor) -> BoundsWeight:
        """What an artifact stores of ``weight``; it decodes to the bit to what the forward pass computed with."""
        weight = weight.detach().cpu()
        return BoundsWeight.nearest(weight, *self.bounds(weight), self.bits)


class LatentWeight(nn.Module):
    """A weight that is trained in full precision and rounded whenever it is used."""

    def __init__(self, weight: Tensor, rounding: WeightRounding) -> None:
        """``weight``: where to start from."""
        super().__init__()
        self.latent = nn.Parameter(weight.detach().clone())
        self.rounding = rounding

    def forward(self) -> Tensor:
        """The weight as it is rounded now."""
        return self.rounding(self.latent)

    def frozen(self) -> BoundsWeight:
        """What an artifact stores."""
        return self.rounding.frozen(self.latent)
