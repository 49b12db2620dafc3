"""Tensors as a file holds them: anybody may have written it, so each is checked before anything is computed from it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Stored:
    """The tensors of a weight or of an input quantizer, by suffix. Every message names tensor, value and limit."""

    def __init__(self, tensors: Mapping[str, Tensor], known: tuple[str, ...]) -> None:
        """Raises ValueError where there is a tensor that is not ``known``."""
        unknown = sorted(tensors.keys() - set(known))
        if unknown:
            raise ValueError(f"there is no use for the tensor {unknown[0]!a}; known: {', '.join(known)}")
        self._tensors = tensors

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def those(self, names: tuple[str, ...]) -> dict[str, Tensor]:
        """The tensors with these ``names`` that are there."""
        return {name: self._tensors[name] for name in names if name in self._tensors}

    def refuse(self, name: str, beside: str) -> None:
        """Raises ValueError where there is a tensor called ``name``, which stands for the same as ``beside``."""
        if name in self:
            raise ValueError(f"{name} and {beside} are both there")

    def dtype(self, name: str) -> torch.dtype:
        """The dtype of a tensor. Raises ValueError where it is missing."""
        return self._get(name).dtype

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor. Raises ValueError where it is missing."""
        return tuple(self._get(name).shape)

    def take(
        self, name: str, dtype: torch.dtype, shape: tuple[int, ...], low: float | None = None, high: float | None = None
    ) -> Tensor:
        """The tensor called ``name``.

        Raises ValueError unless it is there, of this ``dtype`` and ``shape``, finite, and in ``low``…``high``.
        """
        tensor = self._get(name)
        if tensor.dtype != dtype or tuple(tensor.shape) != shape:
            found = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
            raise ValueError(f"{name} is {found}; it must be {dtype} of shape {shape}")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{name} has values that are not finite")
        if tensor.numel() and low is not None and tensor.amin() < low:
            raise ValueError(f"{name} has a value of {tensor.amin().item():g}; it must be at least {low:g}")
        if tensor.numel() and high is not None and tensor.amax() > high:
            raise ValueError(f"{name} has a value of {tensor.amax().item():g}; it must be at most {high:g}")
        return tensor

    def positive(self, name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
        """As :meth:`take`, for values above zero."""
        tensor = self.take(name, dtype, shape)
        if not (tensor > 0).all():
            raise ValueError(f"{name} has a value of {tensor.amin().item():g}; it must be above 0")
        return tensor

    def _get(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise ValueError(f"the tensor {name} is missing")
        return self._tensors[name]
