"""Fake quantization of activations: normalize, look up the nearest point, undo the normalization (DFSQ §3.2–3.3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dfsq.nn.error_feedback import ErrorFeedback
from dfsq.nn.input_quantizer import InputQuantizer, register
from dfsq.quantizers import fused, native
from dfsq.quantizers.lookup import Lookup, round_to_points
from dfsq.quantizers.normalization import by_sample, channel_statistics
from dfsq.quantizers.points import pack_points, unpack_points
from dfsq.quantizers.stored import Stored
from dfsq.quantizers.universal import UniversalSet


@register
class SubsetQuantizer(InputQuantizer):
    """Quantizes every channel of every sample to its 2^bits points, in units of that channel's own spread."""

    kind = "subset"
    points: Tensor
    limit: Tensor | None
    fixed: Tensor | None

    def __init__(
        self,
        points: Tensor,
        signed: bool,
        bits: int,
        universal: UniversalSet,
        channel_axis: int,
        limit: Tensor | None = None,
        feedback: ErrorFeedback | None = None,
        fixed: Tensor | None = None,
    ) -> None:
        """``points``: ascending numerators, int ``(C, 2^bits)``; ``signed``: False where no input is negative.

        ``limit``: the largest spread a channel may take, float32 ``(C,)``; values beyond it saturate. Without it one
        outlier of a sample makes the quantization of its whole channel coarse, and networks that multiply activations
        can amplify that from block to block. ``feedback``: None rounds every channel alone.
        ``fixed``: shift and spread, float32, instead of those of every sample's channels: ``(2, C)``, or ``(2,)`` for
        the whole tensor, where ``points`` is ``(1, 2^bits)``.
        """
        super().__init__()
        self.bits = bits
        self.signed = signed
        self.universal = universal
        self.channel_axis = channel_axis
        # Not in the state dict: an artifact stores the points packed.
        self.register_buffer("points", points, persistent=False)
        self.register_buffer("limit", limit, persistent=False)
        self.register_buffer("fixed", fixed, persistent=False)
        self.feedback = feedback
        self._made: Lookup | None = None

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Quantize ``x``, float32, any shape with samples on axis 0 and channels on ``channel_axis``.

        The result has the same shape; in memory, channels come last.
        """
        samples = by_sample(x, self.channel_axis)
        if len(self.points) == 1:  # for the whole tensor
            samples = samples.view(len(samples), -1, 1)
        if native.available(samples):
            order, shares = (None, None) if self.feedback is None else (self.feedback.order, self.feedback.shares)
            fixed = None if self.fixed is None else self.fixed.view(2, -1)
            result = native.quantize(samples, self.signed, self._lookup, fixed, self.limit, order, shares)
        else:
            rounded = [self._rounded(sample) for sample in samples]
            result = rounded[0] if len(rounded) == 1 else torch.stack(rounded)  # stacking copies
        return result.view(x.movedim(self.channel_axis, -1).shape).movedim(-1, self.channel_axis)

    def _rounded(self, sample: Tensor) -> Tensor:
        """``sample`` ``(n, C)`` by torch's operators, or what is compiled of them."""
        shift, spread = self._statistics(sample)
        plainly = fused.round_to_points if fused.ready else round_to_points
        result: Tensor = (self.feedback or plainly)(sample, shift, spread, self._lookup)
        return result

    def _statistics(self, sample: Tensor) -> tuple[Tensor | None, Tensor]:
        """Shift and spread, each ``(C,)``, or ``(1,)`` for the whole tensor."""
        if self.fixed is not None:
            return self.fixed[0].view(-1), self.fixed[1].view(-1)
        shift, spread = channel_statistics(sample, self.signed)
        return shift, spread if self.limit is None else torch.minimum(spread, self.limit)

    def levels(self) -> Tensor:
        """The points; where shift and spread are fixed, in the unit of the input, else in that of the spread."""
        points = self.universal.values(self.points)
        if self.fixed is None:
            return points
        shift, spread = self.fixed.view(2, -1, 1)
        restored: Tensor = points * spread + shift
        return restored

    @property
    def units(self) -> str:
        """Of :meth:`levels`, in words for people."""
        return "of each channel's spread" if self.fixed is None else super().units

    def normalized(self, x: Tensor) -> Tensor:
        """``x`` in the units of :meth:`levels`; beyond −1…1 where ``limit`` saturates."""
        if self.fixed is not None:
            return x
        samples = []
        for sample in by_sample(x, self.channel_axis):
            shift, spread = self._statistics(sample)
            samples.append((sample if shift is None else sample - shift) / spread)
        shape = x.movedim(self.channel_axis, -1).shape
        return torch.stack(samples).view(shape).movedim(-1, self.channel_axis)

    @property
    def _lookup(self) -> Lookup:
        if self._made is None or self._made.points is not self.points:  # moved to another device
            self._made = Lookup(self.points, self.universal)
        return self._made

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors to store, by suffix."""
        tensors = {"points": pack_points(self.points.cpu(), self.universal)}
        if self.limit is not None:
            tensors["limit"] = self.limit.bfloat16()
        if self.fixed is not None:
            tensors["fixed"] = self.fixed
        return tensors | (self.feedback.to_tensors() if self.feedback is not None else {})

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
    ) -> SubsetQuantizer:
        """Inverse of :meth:`to_tensors`, for a layer whose input has ``channels``.

        Raises ValueError for tensors that do not fit the layer or one another, and for values that cannot be.
        """
        fixed = None
        stored = Stored(tensors, ("points", "limit", "fixed", "order", "shares", "largest"))
        if "fixed" in stored:
            shape = (2,) if tensors["fixed"].dim() == 1 else (2, channels)
            fixed = stored.take("fixed", torch.float32, shape)
            if (fixed[1] <= 0).any():
                raise ValueError(f"fixed has a spread of {fixed[1].min().item():g}; it must be above 0")
            if "limit" in stored or (len(shape) == 1 and "order" in stored):
                raise ValueError("fixed goes with no limit, and for a whole tensor with no order")
        rows = channels if fixed is None or fixed.dim() == 2 else 1
        points = unpack_points(stored, (rows, 2**bits), universal)
        limit = stored.positive("limit", torch.bfloat16, (channels,)).float() if "limit" in stored else None
        feedback = None
        if any(name in stored for name in ("order", "shares", "largest")):
            feedback = ErrorFeedback.from_tensors(stored, channels)
        return cls(points, signed, bits, universal, channel_axis, limit, feedback, fixed)
