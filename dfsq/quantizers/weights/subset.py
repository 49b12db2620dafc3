"""Weights on quantization points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from dfsq.quantizers import subset
from dfsq.quantizers.codes import pack_codes
from dfsq.quantizers.normalization import bin_index
from dfsq.quantizers.points import SUFFIXES as POINTS
from dfsq.quantizers.points import pack_points, unpack_points
from dfsq.quantizers.stored import Stored
from dfsq.quantizers.universal import UniversalSet
from dfsq.quantizers.weights.base import QuantizedWeight, take_codes


@dataclass(frozen=True)
class SubsetWeight(QuantizedWeight):
    """Weights on quantization points per output channel: w = points[code] / denominator · scale."""

    kind: ClassVar[str] = "subset"
    codes: Tensor
    scale: Tensor
    """float32 ``(C,)``: largest magnitude of the channel."""
    points: Tensor
    """Numerators, int64 ``(C, 2^bits)``, ascending."""
    bits: int
    universal: UniversalSet

    @classmethod
    def nearest(cls, weight: Tensor, points: Tensor, bits: int, universal: UniversalSet) -> SubsetWeight:
        """Round ``weight`` ``(C, …)`` to the nearest of ``points`` ``(C, 2^bits)``, in units of its maximum."""
        bins, scale = weight_bins(weight, universal)
        codes = subset.code_table(points, universal).gather(1, bins.long())
        return cls(codes.reshape(weight.shape), scale, points, bits, universal)

    def dequantize(self) -> Tensor:
        """Weights for the forward pass, float32."""
        return self.levels().gather(1, self.codes.flatten(1).long()).reshape(self.codes.shape)

    def levels(self) -> Tensor:
        """What every code stands for: float32 ``(C, 2^bits)``, ascending."""
        return self.universal.values(self.points) * self.scale[:, None]

    def elements(self) -> Tensor:
        """What :meth:`levels` may be: float32 ``(C, |U|)``, ascending."""
        return self.universal.values(self.universal.numerators) * self.scale[:, None]

    def fitted(self, codes: Tensor, levels: Tensor) -> SubsetWeight:
        """The same with other ``codes``, and ``levels`` ``(C, 2^bits)`` out of :meth:`elements`."""
        points = (levels / self.scale[:, None] * self.universal.denominator).round().long()
        return replace(self, codes=codes, points=points)

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors to store, by suffix."""
        return {
            "codes": pack_codes(self.codes, self.bits),
            "scale": self.scale,
            **pack_points(self.points, self.universal),
        }

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], shape: tuple[int, ...], bits: int, universal: UniversalSet
    ) -> SubsetWeight:
        """Inverse of :meth:`to_tensors`.

        Raises ValueError for tensors that do not fit ``shape`` and ``bits``.
        """
        stored = Stored(tensors, ("codes", "scale", *POINTS))
        scale = stored.positive("scale", torch.float32, shape[:1])
        points = unpack_points(stored, (shape[0], 2**bits), universal)
        return cls(take_codes(stored, shape, bits), scale, points, bits, universal)


def weight_bins(weight: Tensor, universal: UniversalSet) -> tuple[Tensor, Tensor]:
    """Bins ``(C, n)`` of the weights in units of their channel's largest magnitude, and that magnitude ``(C,)``."""
    rows = weight.flatten(1)
    scale = rows.abs().amax(1)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))  # an all-zero channel
    return bin_index(rows, None, scale[:, None], universal.bins), scale
