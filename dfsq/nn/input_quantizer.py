"""What all input quantizers have in common, and the kinds there are.

A kind is a module that quantizes a layer's input, stores itself as tensors and restores itself from them. It registers
under the name by which artifacts call it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, TypeVar

from torch import Tensor, nn

from dfsq.quantizers.universal import UniversalSet

KINDS: dict[str, type[InputQuantizer]] = {}
"""The registered kinds by name."""

Kind = TypeVar("Kind", bound="type[InputQuantizer]")


class InputQuantizer(nn.Module, ABC):
    """Fake quantization of a layer's input: ``forward`` maps a tensor to one of the same shape."""

    kind: ClassVar[str]
    """The name in KINDS."""
    bits: int
    signed: bool
    """False where no input is negative."""

    def rescaled(self, x: Tensor) -> Tensor:
        """The layer's input ``x`` in the units of what ``forward`` returns, not rounded."""
        return x

    def adapted(self, weight: Tensor, groups: int = 1) -> Tensor:
        """The layer's weight ``(C_out, C_in / groups, …)`` for inputs in the units of what ``forward`` returns."""
        del groups
        return weight

    @abstractmethod
    def levels(self) -> Tensor:
        """What inputs are rounded to, in the units of :meth:`normalized`: float32 ``(C, k)``, ascending, or ``(1, k)``
        for all channels."""

    def normalized(self, x: Tensor) -> Tensor:
        """The layer's input ``x``, not rounded, in the units of :meth:`levels`; same shape."""
        return self.rescaled(x)

    @property
    def units(self) -> str:
        """Of :meth:`levels`, in words for people."""
        return "of the input"

    @abstractmethod
    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors to store, by suffix."""

    @classmethod
    @abstractmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, Tensor],
        channels: int,
        *,
        signed: bool,
        bits: int,
        universal: UniversalSet,
        channel_axis: int,
    ) -> InputQuantizer:
        """Inverse of :meth:`to_tensors`, for a layer whose input has ``channels`` on ``channel_axis``.

        Raises ValueError for tensors that do not fit, before anything is computed from them.
        """


def register(kind: Kind) -> Kind:
    """Class decorator that adds a kind. Raises ValueError for a name that is taken."""
    if kind.kind in KINDS:
        raise ValueError(f"there are two input quantizers called {kind.kind!r}")
    KINDS[kind.kind] = kind
    return kind
