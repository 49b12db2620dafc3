"""Fake quantization of activations: normalize, look up the nearest point, undo the normalization (DFSQ §3.2–3.3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dfsq.limits import BLOCK
from dfsq.nn.error_feedback import ErrorFeedback
from dfsq.nn.input_quantizer import InputQuantizer, register
from dfsq.quantizers import fused, native
from dfsq.quantizers.blocks import cut, joined, within
from dfsq.quantizers.lookup import Lookup, round_to_points
from dfsq.quantizers.normalization import channel_statistics, window_statistics
from dfsq.quantizers.points import SUFFIXES as POINTS
from dfsq.quantizers.points import pack_points, unpack_points
from dfsq.quantizers.stored import Stored
from dfsq.quantizers.universal import UniversalSet

_TOGETHER = 16384
"""Pixels of blocks that torch's operators work on together."""


@register
class SubsetQuantizer(InputQuantizer):
    """Quantizes every channel of every sample to its 2^bits points, in units of that channel's own spread."""

    kind = "subset"
    points: Tensor
    limit: Tensor | None
    fixed: Tensor | None
    reach: Tensor | None

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
        block: int | None = None,
        reach: Tensor | None = None,
    ) -> None:
        """``points``: ascending numerators, int ``(C, 2^bits)``; ``signed``: False where no input is negative.

        ``limit``: the largest spread a channel may take, float32 ``(C,)``; values beyond it saturate. Without it one
        outlier of a sample makes the quantization of its whole channel coarse, and networks that multiply activations
        can amplify that from block to block. ``feedback``: None rounds every channel alone.
        ``fixed``: shift and spread, float32, instead of those of every sample's channels: ``(2, C)``, or ``(2,)`` for
        the whole tensor, where ``points`` is ``(1, 2^bits)``. ``block``: inputs are maps ``(N, C, H, W)``, and every
        square of so many pixels a side has its own shift and spread; goes with no ``fixed``. ``reach``: of blocks, the
        largest magnitude of a channel's values, float32 ``(C,)``; those beyond saturate first. ``limit`` alone leaves
        the means of blocks free, and what runs away in one layer does so ever faster in those behind it.
        """
        super().__init__()
        self.bits = bits
        self.signed = signed
        self.universal = universal
        self.channel_axis = channel_axis
        self.block = block
        # Not in the state dict: an artifact stores the points packed.
        self.register_buffer("points", points, persistent=False)
        self.register_buffer("limit", limit, persistent=False)
        self.register_buffer("fixed", fixed, persistent=False)
        self.register_buffer("reach", reach, persistent=False)
        self.feedback = feedback
        self._made: Lookup | None = None

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Quantize ``x``, float32, any shape with samples on axis 0 and channels on ``channel_axis``.

        The result has the same shape; in memory, channels come last.
        """
        ordered = x.movedim(self.channel_axis, -1).contiguous()
        rounded = self._rounded_whole(ordered) if self.block is None else self._rounded_blocks(ordered, self.block)
        return rounded.movedim(-1, self.channel_axis)

    def _rounded_whole(self, x: Tensor) -> Tensor:
        """``x`` ``(N, …, C)``, every sample by itself."""
        samples = x.view(len(x), -1, x.shape[-1] if len(self.points) > 1 else 1)
        if native.available(samples):
            fixed = None if self.fixed is None else self.fixed.view(2, -1)
            result = native.quantize(samples, self.signed, self._lookup, fixed, self.limit, *self._errors_go)
        else:
            rounded = [self._nearest(sample, *self._statistics(sample)) for sample in samples]
            result = rounded[0] if len(rounded) == 1 else torch.stack(rounded)  # stacking copies
        return result.view(x.shape)

    def _rounded_blocks(self, x: Tensor, side: int) -> Tensor:
        """``x`` ``(N, H, W, C)``, every block by itself."""
        if native.ready_for(x):
            return native.quantize_blocks(x, side, self.signed, self._lookup, self.limit, self.reach, *self._errors_go)
        rounded = []
        for some in torch.split(cut(within(x, self.reach), side), max(1, _TOGETHER // side**2)):
            shift, spread = (
                None if each is None else each.expand_as(some).reshape(-1, x.shape[-1])
                for each in self._limited(*window_statistics(some, self.signed))
            )
            assert spread is not None
            rounded.append(self._nearest(some.view(-1, x.shape[-1]), shift, spread))
        return joined(torch.cat(rounded), x.shape, side)

    @property
    def _errors_go(self) -> tuple[Tensor | None, Tensor | None]:
        """In which order, and where to, as the C code takes it."""
        return (None, None) if self.feedback is None else (self.feedback.order, self.feedback.shares)

    def _nearest(self, rows: Tensor, shift: Tensor | None, spread: Tensor) -> Tensor:
        """``rows`` ``(n, C)`` by torch's operators, or what is compiled of them."""
        plainly = fused.round_to_points if fused.ready else round_to_points
        result: Tensor = (self.feedback or plainly)(rows, shift, spread, self._lookup)
        return result

    def _statistics(self, sample: Tensor) -> tuple[Tensor | None, Tensor]:
        """Shift and spread, each ``(C,)``, or ``(1,)`` for the whole tensor."""
        if self.fixed is not None:
            return self.fixed[0].view(-1), self.fixed[1].view(-1)
        return self._limited(*channel_statistics(sample, self.signed))

    def _limited(self, shift: Tensor | None, spread: Tensor) -> tuple[Tensor | None, Tensor]:
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
        if self.fixed is not None:
            return super().units
        return "of each channel's spread" + f" in blocks of {self.block}×{self.block}" * (self.block is not None)

    def normalized(self, x: Tensor) -> Tensor:
        """``x`` in the units of :meth:`levels`; beyond −1…1 where ``limit`` saturates."""
        if self.fixed is not None:
            return x
        ordered = x.movedim(self.channel_axis, -1).contiguous()
        if self.block is None:
            samples = ordered.view(len(x), -1, ordered.shape[-1])
            found = torch.stack([_in_units(each, *self._statistics(each)) for each in samples]).view(ordered.shape)
        else:
            blocks = cut(within(ordered, self.reach), self.block)
            units = self._limited(*window_statistics(blocks, self.signed))
            found = joined(_in_units(blocks, *units), ordered.shape, self.block)
        return found.movedim(-1, self.channel_axis)

    @property
    def _lookup(self) -> Lookup:
        if self._made is None or self._made.points is not self.points:  # moved to another device
            self._made = Lookup(self.points, self.universal)
        return self._made

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors to store, by suffix."""
        tensors = pack_points(self.points.cpu(), self.universal)
        if self.limit is not None:
            tensors["limit"] = self.limit.bfloat16()
        if self.fixed is not None:
            tensors["fixed"] = self.fixed
        if self.reach is not None:
            tensors["reach"] = self.reach.bfloat16()
        if self.block is not None:
            tensors["block"] = torch.tensor(self.block, dtype=torch.int16)
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
        stored = Stored(tensors, (*POINTS, "limit", "fixed", "block", "reach", *ErrorFeedback.SUFFIXES))
        if "fixed" in stored:
            shape = (2,) if tensors["fixed"].dim() == 1 else (2, channels)
            fixed = stored.take("fixed", torch.float32, shape)
            if (fixed[1] <= 0).any():
                raise ValueError(f"fixed has a spread of {fixed[1].min().item():g}; it must be above 0")
            if "limit" in stored or "block" in stored or (len(shape) == 1 and "order" in stored):
                raise ValueError("fixed goes with no limit and no block, and for a whole tensor with no order")
        block = None
        if "block" in stored:
            if channel_axis != 1:
                raise ValueError("block goes with maps, whose channels are on axis 1")
            block = int(stored.take("block", torch.int16, (), BLOCK.least, BLOCK.most))
        reach = None
        if "reach" in stored:
            if block is None:
                raise ValueError("reach goes with block")
            reach = stored.positive("reach", torch.bfloat16, (channels,)).float()
        rows = channels if fixed is None or fixed.dim() == 2 else 1
        points = unpack_points(stored, (rows, 2**bits), universal)
        limit = stored.positive("limit", torch.bfloat16, (channels,)).float() if "limit" in stored else None
        feedback = None
        if any(name in stored for name in ErrorFeedback.SUFFIXES):
            feedback = ErrorFeedback.from_tensors(stored, channels)
        return cls(points, signed, bits, universal, channel_axis, limit, feedback, fixed, block, reach)


def _in_units(x: Tensor, shift: Tensor | None, spread: Tensor) -> Tensor:
    return (x if shift is None else x - shift) / spread
