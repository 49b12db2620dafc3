"""Fake quantization of activations: normalize, look up the nearest point, undo the normalization (DFSQ §3.2–3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dfsq.quantizers.normalization import bin_index, channel_statistics
from dfsq.quantizers.subset import value_table
from dfsq.quantizers.universal import UniversalSet


class SubsetQuantizer(nn.Module):
    """Quantizes every channel of every sample to its 2^bits points, in units of that channel's own spread."""

    points: Tensor
    table: Tensor
    limit: Tensor | None

    def __init__(
        self,
        points: Tensor,
        signed: bool,
        bits: int,
        universal: UniversalSet,
        channel_axis: int,
        limit: Tensor | None = None,
    ) -> None:
        """``points``: ascending numerators, int ``(C, 2^bits)``; ``signed``: False where no input is negative.

        ``limit``: the largest spread a channel may take, float32 ``(C,)``; values beyond it saturate. Without it one
        outlier of a sample makes the quantization of its whole channel coarse, and networks that multiply activations
        can amplify that from block to block.
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

    def forward(self, x: Tensor) -> Tensor:
        """Quantize ``x``, any shape with samples on axis 0 and channels on ``channel_axis``; same shape and layout."""
        shift, spread = channel_statistics(x, self.signed, self.channel_axis)
        if self.limit is not None:
            spread = torch.minimum(spread, self.limit.view(-1, *[1] * (x.dim() - 1 - self.channel_axis % x.dim())))
        channels, bins = self.table.shape
        index = bin_index(x, shift, spread, bins).movedim(self.channel_axis, -1)
        index = index + torch.arange(0, channels * bins, bins, device=x.device, dtype=torch.int32)
        values = self.table.view(-1).index_select(0, index.reshape(-1)).view(index.shape)
        values = values.movedim(-1, self.channel_axis)
        return values * spread if shift is None else torch.addcmul(shift, values, spread)
