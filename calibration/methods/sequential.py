"""Layers one after the other, each compensating for its own rounding and for the layers before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from calibration.methods.by_channel import ByChannel
from calibration.recipes.choice import choice
from calibration.recipes.recipe import register
from dfsq import limits

if TYPE_CHECKING:
    from calibration.planning import Plan

_FEW = 3
"""Bits at which what a network makes of an error depends on the errors that it has."""


@register
@dataclass(frozen=True, kw_only=True)
class Sequential(ByChannel):
    """Layers are given points for what the quantized network gives them, and weights and biases that make up for it."""

    method: ClassVar[str] = "sequential"
    compensates: ClassVar[bool] = True

    passes: int | None = choice(
        None,
        "1, or 2: the second by how the network that the first gives reacts to errors; null: 2 for up to 3 bits",
        limits=limits.PASSES,
    )

    def rehearses(self, plan: Plan) -> bool:
        """That it does, with two passes."""
        if self.passes is not None:
            return self.passes > 1
        return any(min(each.w_bits, each.a_bits or each.w_bits) <= _FEW for each in plan.values() if not each.outside)

    @property
    def gains_by_patches(self) -> bool:
        """They are: docs/accuracy.md."""
        return True
