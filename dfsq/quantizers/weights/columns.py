"""Columns of a weight matrix with scales of their own: one for every input channel and kernel position.

Levels are selected per row, that is per output channel, and those of a row suit all its columns badly where some are
ten times as large as others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Self

import torch
from torch import Tensor

from dfsq.quantizers.codes import pack_codes, unpack_codes
from dfsq.quantizers.stored import Stored
from dfsq.quantizers.universal import UniversalSet
from dfsq.quantizers.weights.base import QuantizedWeight

COLUMNS = "columns"
_BITS = 6
_FRACTIONS = (1.0, 0.8408964, 0.70710677, 0.59460354)
"""2 to the power of 0, −1/4, −1/2 and −3/4, in float32."""


def steps_of(scales: Tensor) -> Tensor:
    """``scales`` in 0…1 as quarters of octaves below 1, to the nearest: uint8, at most 63."""
    return (-4 * scales.clamp_min(2.0**-20).log2()).round().clamp(0, 2**_BITS - 1).to(torch.uint8)


def scales_of(steps: Tensor) -> Tensor:
    """Inverse of :func:`steps_of`: 2^(−steps / 4), float32, the same on every machine."""
    steps = steps.long()
    return torch.ldexp(torch.tensor(_FRACTIONS)[steps % 4], -(steps // 4))


@dataclass(frozen=True)
class ColumnScaledWeight(QuantizedWeight):
    """A quantized weight whose columns are multiplied by scales."""

    normalized: QuantizedWeight
    """In units of the scales, of any kind."""
    steps: Tensor
    """uint8 ``(K,)``, see :func:`scales_of`; K is the number of weights per output channel."""

    @property
    def kind(self) -> str:  # type: ignore[override]
        """That of :attr:`normalized`."""
        return self.normalized.kind

    @property
    def codes(self) -> Tensor:  # type: ignore[override]
        """Those of :attr:`normalized`."""
        return self.normalized.codes

    @property
    def bits(self) -> int:  # type: ignore[override]
        """Those of :attr:`normalized`."""
        return self.normalized.bits

    @property
    def universal(self) -> UniversalSet | None:
        """What points are out of, where there are any."""
        return getattr(self.normalized, "universal", None)

    def dequantize(self) -> Tensor:
        """Weights for the forward pass, float32."""
        values = self.normalized.dequantize()
        return (values.flatten(1) * self.column_scales()).reshape(values.shape)

    def levels(self) -> Tensor:
        """Those of :attr:`normalized`."""
        return self.normalized.levels()

    def column_scales(self) -> Tensor:
        """What levels are multiplied by: float32 ``(K,)``."""
        return scales_of(self.steps)

    def elements(self) -> Tensor | None:
        """Those of :attr:`normalized`."""
        return self.normalized.elements()

    def fitted(self, codes: Tensor, levels: Tensor) -> Self:
        """The same with other ``codes``, and ``levels`` ``(C, 2^bits)`` out of :meth:`elements`."""
        return replace(self, normalized=self.normalized.fitted(codes, levels))

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors to store, by suffix."""
        return {**self.normalized.to_tensors(), COLUMNS: pack_codes(self.steps, _BITS)}


def with_columns(weight: QuantizedWeight, tensors: Mapping[str, Tensor]) -> QuantizedWeight:
    """``weight``, with scales for its columns where ``tensors`` have them. Raises ValueError for such as do not fit."""
    stored = Stored(tensors, (COLUMNS,))
    if COLUMNS not in stored:
        return weight
    steps = unpack_codes(stored, COLUMNS, _BITS, (prod(weight.codes.shape[1:]),))
    return ColumnScaledWeight(weight, steps.to(torch.uint8))
