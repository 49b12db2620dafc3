"""Weights between two bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dfsq.quantizers import bounds
from dfsq.quantizers.codes import pack_codes
from dfsq.quantizers.stored import Stored
from dfsq.quantizers.universal import UniversalSet
from dfsq.quantizers.weights.base import QuantizedWeight, take_codes


@dataclass(frozen=True)
class BoundsWeight(QuantizedWeight):
    """Weights on multiples of a step between two bounds of the whole tensor, see :mod:`dfsq.quantizers.bounds`."""

    kind: ClassVar[str] = "bounds"
    codes: Tensor
    lower: Tensor
    """float32 ``()``, not above ``upper``."""
    upper: Tensor
    """float32 ``()``."""
    bits: int

    @classmethod
    def nearest(cls, weight: Tensor, lower: Tensor, upper: Tensor, bits: int) -> BoundsWeight:
        """Clip ``weight`` to the bounds and round it to the nearest level between them."""
        return cls(bounds.encode(weight, lower, upper, bits), lower, upper, bits)

    def dequantize(self) -> Tensor:
        """Weights for the forward pass, float32."""
        return bounds.levels(self.lower, self.upper, self.bits)[self.codes.long()]

    def levels(self) -> Tensor:
        """What every code stands for: float32 ``(C, 2^bits)``, ascending."""
        return bounds.levels(self.lower, self.upper, self.bits).expand(len(self.codes), -1)

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors to store, by suffix."""
        return {"codes": pack_codes(self.codes, self.bits), "lower": self.lower, "upper": self.upper}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], shape: tuple[int, ...], bits: int, _universal: UniversalSet
    ) -> BoundsWeight:
        """Inverse of :meth:`to_tensors`.

        Raises ValueError for tensors that do not fit ``shape`` and ``bits``.
        """
        stored = Stored(tensors, ("codes", "lower", "upper"))
        lower = stored.take("lower", torch.float32, (), -bounds.MOST, bounds.MOST)
        upper = stored.take("upper", torch.float32, (), float(lower), bounds.MOST)
        return cls(take_codes(stored, shape, bits), lower, upper, bits)
