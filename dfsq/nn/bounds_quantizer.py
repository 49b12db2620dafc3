"""Activations rounded between a lower and an upper bound, which a gate may adapt to the image (DDTB, §3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dfsq.nn.gate import Gate, channel_means
from dfsq.nn.input_quantizer import InputQuantizer, register
from dfsq.quantizers import bounds
from dfsq.quantizers.bounds import MOST, quantize
from dfsq.quantizers.stored import Stored
from dfsq.quantizers.universal import UniversalSet


@register
class BoundsQuantizer(InputQuantizer):
    """Quantizes a whole tensor between two bounds, each times its gate's factor where there is one."""

    kind = "bounds"
    lower: Tensor
    upper: Tensor

    def __init__(self, lower: float, upper: float, bits: int, gate: Gate | None = None, channel_axis: int = 1) -> None:
        """Raises ValueError for bounds beyond :data:`~dfsq.quantizers.bounds.MOST`, and without any value between them.

        Bounds that a gate brings out of order leave one level, the upper bound.
        """
        super().__init__()
        # Not in the state dict: an artifact stores them as to_tensors says.
        self.register_buffer("lower", torch.tensor(lower), persistent=False)
        self.register_buffer("upper", torch.tensor(upper), persistent=False)
        if not -MOST <= self.lower < self.upper <= MOST:
            raise ValueError(f"lower is {lower:g} and upper {upper:g}; they must ascend, within ±{MOST:g}")
        self.bits = bits
        self.signed = lower < 0
        self.channel_axis = channel_axis
        self.gate = gate

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Quantize ``x``, float32, samples on axis 0; the result has the same shape."""
        if self.gate is None:
            return quantize(x, self.lower, self.upper, self.bits)
        factors = self.gate(channel_means(x, self.channel_axis)).view(-1, 2, *[1] * (x.dim() - 1))
        return quantize(x, self.lower * factors[:, 1], self.upper * factors[:, 0], self.bits)

    def levels(self) -> Tensor:
        """Those between the bounds, before a gate moves them."""
        return bounds.levels(self.lower, self.upper, self.bits)[None]

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors to store, by suffix."""
        tensors = {"lower": self.lower, "upper": self.upper}
        return tensors if self.gate is None else {**tensors, **self.gate.to_tensors()}

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, Tensor],
        channels: int,
        *,
        signed: bool,
        bits: int,
        universal: UniversalSet,
        channel_axis: int,
    ) -> BoundsQuantizer:
        """Inverse of :meth:`to_tensors`."""
        stored = Stored(tensors, ("lower", "upper", *Gate.SUFFIXES))
        lower, upper = (float(stored.take(name, torch.float32, ())) for name in ("lower", "upper"))
        if signed != (lower < 0):
            raise ValueError(f"lower is {lower:g}, but signed is {str(signed).lower()}")
        gate = Gate.from_stored(stored, channels) if any(name in stored for name in Gate.SUFFIXES) else None
        return cls(lower, upper, bits, gate, channel_axis)
