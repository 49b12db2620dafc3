"""One pass of the full-precision network over the images, then every layer by itself (DFSQ, arXiv 2305.05888)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from calibration.methods.by_channel import ByChannel
from calibration.recipes.recipe import register


@register
@dataclass(frozen=True, kw_only=True)
class OnePass(ByChannel):
    """Layers are given points for what they see in full precision, and weights that are rounded to the nearest."""

    method: ClassVar[str] = "one-pass"
    compensates: ClassVar[bool] = False
