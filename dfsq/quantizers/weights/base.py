"""What all kinds of quantized weights have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from math import prod
from typing import ClassVar, Self

import torch
from torch import Tensor

from dfsq.quantizers.codes import unpack_codes
from dfsq.quantizers.stored import Stored


class QuantizedWeight(ABC):
    """Codes, and what decodes them."""

    kind: ClassVar[str]
    codes: Tensor
    """uint8, shape of the weight, in 0…2^bits − 1."""
    bits: int

    @abstractmethod
    def dequantize(self) -> Tensor:
        """Weights for the forward pass, float32."""

    @abstractmethod
    def levels(self) -> Tensor:
        """What every code stands for, in units of :meth:`column_scales`: float32 ``(C, 2^bits)``, ascending."""

    def column_scales(self) -> Tensor:
        """What the levels of every column are multiplied by: float32 ``(K,)``, for K weights per output channel."""
        return torch.ones(prod(self.codes.shape[1:]))

    def elements(self) -> Tensor | None:
        """What :meth:`levels` may be: float32 ``(C, n)``, ascending; None: they are as they are."""
        return None

    def fitted(self, codes: Tensor, levels: Tensor) -> Self:
        """The same with other ``codes``, and ``levels`` ``(C, 2^bits)`` out of :meth:`elements`."""
        del levels
        return replace(self, codes=codes)  # type: ignore[type-var]

    @abstractmethod
    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors to store, by suffix."""


def take_codes(stored: Stored, shape: tuple[int, ...], bits: int) -> Tensor:
    """The codes of a weight of that ``shape``. Raises ValueError for such as do not fit."""
    return unpack_codes(stored, "codes", bits, shape).to(torch.uint8)
