"""Quantized weights as they are kept: codes and what decodes them.

One class per kind, looked up by name in ``KINDS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from dfsq.quantizers import bounds, subset, uniform
from dfsq.quantizers.codes import pack_codes, unpack_codes
from dfsq.quantizers.normalization import bin_index
from dfsq.quantizers.points import SUFFIXES as POINTS
from dfsq.quantizers.points import pack_points, unpack_points
from dfsq.quantizers.stored import Stored
from dfsq.quantizers.universal import UniversalSet


@dataclass(frozen=True)
class UniformWeight:
    """Weights on a uniform grid per output channel: w = (code − zero_point) · scale."""

    kind: ClassVar[str] = "uniform"
    codes: Tensor
    """uint8, shape of the weight, in 0…2^bits − 1."""
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

    def elements(self) -> Tensor | None:
        """None: levels are as they are."""
        return None

    def fitted(self, codes: Tensor, levels: Tensor) -> UniformWeight:
        """The same with other ``codes``."""
        del levels
        return replace(self, codes=codes)

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
        return cls(_codes(stored, shape, bits), scale, zero_point.float(), bits)


@dataclass(frozen=True)
class SubsetWeight:
    """Weights on quantization points per output channel: w = points[code] / denominator · scale."""

    kind: ClassVar[str] = "subset"
    codes: Tensor
    """uint8, shape of the weight, in 0…2^bits − 1."""
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
        return cls(_codes(stored, shape, bits), scale, points, bits, universal)


@dataclass(frozen=True)
class BoundsWeight:
    """Weights on multiples of a step between two bounds of the whole tensor, see :mod:`dfsq.quantizers.bounds`."""

    kind: ClassVar[str] = "bounds"
    codes: Tensor
    """uint8, shape of the weight, in 0…2^bits − 1."""
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

    def elements(self) -> Tensor | None:
        """None: levels are as they are."""
        return None

    def fitted(self, codes: Tensor, levels: Tensor) -> BoundsWeight:
        """The same with other ``codes``."""
        del levels
        return replace(self, codes=codes)

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
        return cls(_codes(stored, shape, bits), lower, upper, bits)


QuantizedWeight = UniformWeight | SubsetWeight | BoundsWeight
KINDS: dict[str, type[UniformWeight] | type[SubsetWeight] | type[BoundsWeight]] = {
    UniformWeight.kind: UniformWeight,
    SubsetWeight.kind: SubsetWeight,
    BoundsWeight.kind: BoundsWeight,
}


def weight_bins(weight: Tensor, universal: UniversalSet) -> tuple[Tensor, Tensor]:
    """Bins ``(C, n)`` of the weights in units of their channel's largest magnitude, and that magnitude ``(C,)``."""
    rows = weight.flatten(1)
    scale = rows.abs().amax(1)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))  # an all-zero channel
    return bin_index(rows, None, scale[:, None], universal.bins), scale


def _codes(stored: Stored, shape: tuple[int, ...], bits: int) -> Tensor:
    return unpack_codes(stored, "codes", bits, shape).to(torch.uint8)
