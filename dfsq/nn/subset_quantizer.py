"""Fake quantization of activations: normalize, look up the nearest point, undo the normalization (DFSQ §3.2–3.3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dfsq.nn.error_feedback import ErrorFeedback
from dfsq.quantizers.normalization import bin_index, channel_statistics
from dfsq.quantizers.subset import value_table
from dfsq.quantizers.universal import UniversalSet
from dfsq.quantizers.weights import pack_points, unpack_points


class SubsetQuantizer(nn.Module):
    """Quantizes every channel of every sample to its 2^bits points, in units of that channel's own spread."""

    points: Tensor
    table: Tensor
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
        ``fixed``: shift and spread of the whole tensor, float32 ``(2,)``, instead of those of every sample's channels;
        ``points`` is ``(1, 2^bits)`` then.
        """
        super().__init__()
        self.bits = bits
        self.signed = signed
        self.universal = universal
        self.channel_axis = channel_axis
        # Not in the state dict: an artifact stores the points packed, and the table follows from them.
        self.register_buffer("points", points, persistent=False)
        self.register_buffer("table", value_table(points, universal), persistent=False)
        self.register_buffer("limit", limit, persistent=False)
        self.register_buffer("fixed", fixed, persistent=False)
        self.feedback = feedback

    def forward(self, x: Tensor) -> Tensor:
        """Quantize ``x``, any shape with samples on axis 0 and channels on ``channel_axis``; same shape and layout."""
        shift, spread = self._statistics(x)
        if self.feedback is not None:
            values = self._with_feedback(x if shift is None else x - shift, spread)
            return values if shift is None else values.add_(shift)
        channels, bins = self.table.shape
        index = bin_index(x, shift, spread, bins).movedim(self.channel_axis, -1)
        index = index + torch.arange(0, channels * bins, bins, device=x.device, dtype=torch.int32)
        values = self.table.view(-1).index_select(0, index.reshape(-1)).view(index.shape)
        values = values.movedim(-1, self.channel_axis)
        return values * spread if shift is None else torch.addcmul(shift, values, spread)

    def _statistics(self, x: Tensor) -> tuple[Tensor | None, Tensor]:
        """Shift and spread by which ``x`` is normalized."""
        if self.fixed is not None:
            return self.fixed[0], self.fixed[1]
        shift, spread = channel_statistics(x, self.signed, self.channel_axis)
        if self.limit is not None:
            spread = torch.minimum(spread, self.limit.view(-1, *[1] * (x.dim() - 1 - self.channel_axis % x.dim())))
        return shift, spread

    def _with_feedback(self, x: Tensor, spread: Tensor) -> Tensor:
        assert self.feedback is not None
        samples, spreads = x.movedim(self.channel_axis, 1), spread.movedim(self.channel_axis, 1)
        result = torch.empty_like(samples)
        for sample, own, to in zip(samples, spreads, result, strict=True):
            to.copy_(self.feedback(sample.flatten(1), self.table, own.flatten()).view(sample.shape))
        return result.movedim(1, self.channel_axis)

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
        """Inverse of :meth:`to_tensors`. Raises KeyError or ValueError for tensors that do not fit together."""
        points = unpack_points(tensors["points"], (channels, 2**bits), universal)
        limit = tensors["limit"].float() if "limit" in tensors else None
        feedback = ErrorFeedback.from_tensors(tensors["order"], tensors["shares"]) if "order" in tensors else None
        return cls(points, signed, bits, universal, channel_axis, limit, feedback, tensors.get("fixed"))
