"""Fake quantization of activations: normalize, look up the nearest point, undo the normalization (DFSQ §3.2–3.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from dfsq.nn.error_feedback import ErrorFeedback
from dfsq.quantizers.lookup import round_to_points
from dfsq.quantizers.normalization import channel_statistics
from dfsq.quantizers.subset import value_table
from dfsq.quantizers.universal import UniversalSet
from dfsq.quantizers.weights import pack_points, unpack_points


class SubsetQuantizer(nn.Module):
    """Quantizes every channel of every sample to its 2^bits points, in units of that channel's own spread."""

    points: Tensor
    values: Tensor
    edges: Tensor
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
        ascending = points.T.contiguous()
        self.register_buffer("values", universal.values(ascending), persistent=False)
        # Bins are half as wide as 1 / denominator, so the sum of two numerators is the bin of their midpoint.
        self.register_buffer("edges", (ascending[:-1] + ascending[1:]).float(), persistent=False)
        self.register_buffer("table", value_table(points, universal), persistent=False)
        self.register_buffer("limit", limit, persistent=False)
        self.register_buffer("fixed", fixed, persistent=False)
        self.feedback = feedback

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Quantize ``x``, any shape with samples on axis 0 and channels on ``channel_axis``.

        The result has the same shape; in memory, channels come last.
        """
        samples = x.movedim(self.channel_axis, -1).contiguous()  # no copy of what is in channels_last
        round_all = self.feedback or round_to_points
        rounded = [
            round_all(sample.view(-1, len(spread)), shift, spread, self.values, self.edges, self.table)
            for sample, (shift, spread) in zip(samples, self._statistics(samples), strict=True)
        ]
        result = rounded[0] if len(rounded) == 1 else torch.stack(rounded)  # stacking copies
        return result.view(samples.shape).movedim(-1, self.channel_axis)

    def _statistics(self, samples: Tensor) -> Iterator[tuple[Tensor | None, Tensor]]:
        """Shift and spread of every sample ``(…, C)``, each ``(C,)``, or ``(1,)`` for the whole tensor."""
        if self.fixed is not None:
            yield from [(self.fixed[:1], self.fixed[1:])] * len(samples)
            return
        shift, spread = channel_statistics(samples, self.signed, -1)
        for index in range(len(samples)):
            own = spread[index].flatten()
            limited = own if self.limit is None else torch.minimum(own, self.limit)
            yield None if shift is None else shift[index].flatten(), limited

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
