"""Layers one after the other, each compensating for its own rounding and for the layers before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from calibration.methods.by_channel import ByChannel
from calibration.recipes.recipe import register


@register
@dataclass(frozen=True, kw_only=True)
class Sequential(ByChannel):
    """Layers are given points for what the quantized network gives them, and weights and biases that make up for it."""

    method: ClassVar[str] = "sequential"
    compensates: ClassVar[bool] = True

    @property
    def gains_by_patches(self) -> bool:
        """They are: docs/accuracy.md."""
        return True
