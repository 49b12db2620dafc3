"""Weights on a uniform grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dfsq.quantizers import uniform
from dfsq.quantizers.codes import pack_codes
from dfsq.quantizers.stored import Stored
from dfsq.quantizers.universal import UniversalSet
from dfsq.quantizers.weights.base import QuantizedWeight, take_codes


@dataclass(frozen=True)
class UniformWeight(QuantizedWeight):
    """Weights on a uniform grid per output channel: w = (code − zero_point) · scale."""

    kind: ClassVar[str] = "uniform"
    codes: Tensor
    scale: Tensor
    """float32 ``(C,)``, positive."""
    zero_point: Tensor
    """float32 ``(C,)`` holding integers in 0…2^bits − 1."""
    bits: int

    def dequantize(self) -> Tensor:
        """Weights for the forward pass, float32."""
        return uniform.decode(self.codes, self.scale, self.zero_point)

    def levels(self) -> Tensor:
        """What every code stands for: float32 ``(C, 2^bits)``, ascending."""
        codes = torch.arange(2**self.bits).expand(len(self.scale), -1)
        return uniform.decode(codes, self.scale, self.zero_point)

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors to store, by suffix."""
        return {
            "codes": pack_codes(self.codes, self.bits),
            "scale": self.scale,
            "zero_point": self.zero_point.to(torch.uint8),
        }

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], shape: tuple[int, ...], bits: int, _universal: UniversalSet
    ) -> UniformWeight:
        """Inverse of :meth:`to_tensors`.

        Raises ValueError for tensors that do not fit ``shape`` and ``bits``.
        """
        stored = Stored(tensors, ("codes", "scale", "zero_point"))
        scale = stored.positive("scale", torch.float32, shape[:1])
        zero_point = stored.take("zero_point", torch.uint8, shape[:1], high=2**bits - 1)
        return cls(take_codes(stored, shape, bits), scale, zero_point.float(), bits)
