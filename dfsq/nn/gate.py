"""What makes bounds follow the image: two factors from the means of its channels (DDTB, dynamic gate)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfsq.quantizers import bounds
from dfsq.quantizers.normalization import by_sample
from dfsq.quantizers.packing import pack, packed_size, unpack
from dfsq.quantizers.stored import Stored

HIDDEN = 32
"""Features between the two products of a gate, as published."""
BITS = 2
"""Of a gate's own weights and activations, as published."""
_MOST = 2.0**32
"""Largest magnitude of what a gate stores: far above what training gives, far below what overflows."""


class Gate(nn.Module):
    """Factors in 0…2 for the upper and the lower bound of every sample: 1 means as it is.

    The means are rounded to two bits between their own extremes, multiplied by ternary weights, normalized (batch
    normalization, folded into ``scale`` and ``shift``), rectified, rounded and multiplied once more; then 2·sigmoid.
    """

    SUFFIXES = tuple(f"gate.{name}" for name in ("first", "second", "magnitudes", "scale", "shift"))
    first: Tensor
    second: Tensor
    magnitudes: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, first: Tensor, second: Tensor, magnitudes: Tensor, scale: Tensor, shift: Tensor) -> None:
        """``first`` ``(HIDDEN, C)`` and ``second`` ``(2, HIDDEN)``: int8, −1, 0 or 1, in units of the float32
        ``magnitudes`` ``(2,)``; ``scale`` and ``shift``: float32 ``(HIDDEN,)``.
        """
        super().__init__()
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("second", second, persistent=False)
        self.register_buffer("magnitudes", magnitudes, persistent=False)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)

    def forward(self, means: Tensor) -> Tensor:
        """Map :func:`channel_means` ``(N, C)`` to factors ``(N, 2)``, upper before lower."""
        if torch.compiler.is_exporting():
            return self._factors(means)
        # One by one: the order in which a product is summed depends on how many samples there are.
        return torch.stack([self._factors(each) for each in means])

    def _factors(self, means: Tensor) -> Tensor:
        hidden = F.linear(_rounded(means), self.first * self.magnitudes[0])
        hidden = F.relu(hidden * self.scale + self.shift)
        return 2 * F.linear(_rounded(hidden), self.second * self.magnitudes[1]).sigmoid()

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors to store, by suffix: the weights packed, as 0, 1 and 2."""
        first, second = pack(self.first + 1, BITS), pack(self.second + 1, BITS)
        return dict(zip(self.SUFFIXES, (first, second, self.magnitudes, self.scale, self.shift), strict=True))

    @classmethod
    def from_stored(cls, stored: Stored, channels: int) -> Gate:
        """Inverse of :meth:`to_tensors` for an input of ``channels``. Raises ValueError for tensors that do not fit."""
        first, second, magnitudes, scale, shift = cls.SUFFIXES
        return cls(
            _ternary(stored, first, (HIDDEN, channels)),
            _ternary(stored, second, (2, HIDDEN)),
            stored.take(magnitudes, torch.float32, (2,), 0, _MOST),
            stored.take(scale, torch.float32, (HIDDEN,), -_MOST, _MOST),
            stored.take(shift, torch.float32, (HIDDEN,), -_MOST, _MOST),
        )


def channel_means(x: Tensor, channel_axis: int) -> Tensor:
    """Mean of every channel of every sample of ``x``: ``(N, C)``, alike whatever samples are beside it."""
    if torch.compiler.is_exporting():
        return x.movedim(channel_axis, 1).flatten(2).mean(2)
    samples = by_sample(x, channel_axis)
    return torch.stack([each.sum(0, dtype=torch.float64) for each in samples]).div(samples.shape[1]).to(x.dtype)


def _rounded(rows: Tensor) -> Tensor:
    return bounds.quantize(rows, rows.amin(-1, keepdim=True), rows.amax(-1, keepdim=True), BITS)


def _ternary(stored: Stored, name: str, shape: tuple[int, int]) -> Tensor:
    packed = stored.take(name, torch.uint8, (packed_size(shape[0] * shape[1], BITS),))
    codes = unpack(packed, BITS, shape)
    if int(codes.amax()) > 2:
        raise ValueError(f"{name} has a code of {int(codes.amax())}; it must be at most 2")
    return (codes - 1).to(torch.int8)
