"""Static integer quantization of activations, as ONNX defines it: q = clamp(round(x / s) + z)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dfsq.nn.input_quantizer import InputQuantizer, register
from dfsq.quantizers.affine import fake_quantize
from dfsq.quantizers.stored import Stored
from dfsq.quantizers.universal import UniversalSet


@register
class AffineQuantizer(InputQuantizer):
    """Quantizes a whole tensor on one evenly spaced grid that holds 0 exactly.

    ``factors`` equalize the channels: channel c is rounded in steps of scale · factors[c], and leaves in units of
    factors[c], in which the weights of the layer are. To an engine it is one scale for the whole tensor all the same.
    """

    kind = "affine"
    scale: Tensor
    zero_point: Tensor
    factors: Tensor | None
    steps: Tensor
    zero_points: Tensor

    def __init__(
        self, scale: float, zero_point: int, bits: int, factors: Tensor | None = None, channel_axis: int = 1
    ) -> None:
        """``scale``: positive; ``zero_point``: the code of 0, in 0…2^bits − 1; ``factors``: positive, ``(C,)``."""
        super().__init__()
        self.bits = bits
        self.signed = zero_point > 0
        self.channel_axis = channel_axis
        # Not in the state dict: an artifact stores them as to_tensors says.
        self.register_buffer("scale", torch.tensor(scale), persistent=False)
        self.register_buffer("zero_point", torch.tensor(zero_point, dtype=torch.uint8), persistent=False)
        self.register_buffer("factors", factors, persistent=False)
        steps = self.scale if factors is None else self.scale * factors
        self.register_buffer("steps", steps, persistent=False)
        self.register_buffer("zero_points", self.zero_point.expand_as(steps).clone(), persistent=False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Quantize ``x``, float32, channels on ``channel_axis``; the result has the same shape."""
        axis = self.channel_axis % x.dim()
        return fake_quantize(x, self.steps, self.zero_points, self.scale, self.zero_point, self.bits, axis)

    def rescaled(self, x: Tensor) -> Tensor:
        """The layer's input ``x``, not rounded, in units of the factors."""
        if self.factors is None:
            return x
        return (x.movedim(self.channel_axis, -1) / self.factors).movedim(-1, self.channel_axis)

    def adapted(self, weight: Tensor, groups: int = 1) -> Tensor:
        """``weight`` ``(C_out, C_in / groups, …)`` for inputs in units of the factors."""
        if self.factors is None:
            return weight
        factors = self.factors.view(groups, -1).repeat_interleave(len(weight) // groups, 0)
        return weight * factors.view(*factors.shape, *[1] * (weight.dim() - 2))

    def levels(self) -> Tensor:
        """The grid, in units of the factors."""
        codes = torch.arange(1 << self.bits, device=self.scale.device)
        return ((codes - self.zero_point.int()) * self.scale)[None]

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors to store, by suffix."""
        tensors = {"scale": self.scale, "zero_point": self.zero_point}
        return tensors if self.factors is None else {**tensors, "factors": self.factors}

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
    ) -> AffineQuantizer:
        """Inverse of :meth:`to_tensors`."""
        stored = Stored(tensors, ("scale", "zero_point", "factors"))
        scale = stored.positive("scale", torch.float32, ())
        zero_point = int(stored.take("zero_point", torch.uint8, (), high=2**bits - 1))
        if signed != (zero_point > 0):
            raise ValueError(f"zero_point is {zero_point}, but signed is {str(signed).lower()}")
        factors = stored.positive("factors", torch.float32, (channels,)) if "factors" in stored else None
        return cls(float(scale), zero_point, bits, factors, channel_axis)
