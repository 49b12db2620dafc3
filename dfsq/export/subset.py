"""Subset quantization as a graph: look-ups for a whole batch at once, and error feedback as one loop.

The same arithmetic as :mod:`dfsq.nn.subset_quantizer`, in operators that ONNX has. Values that engines compute with
other last bits go to another point where they lie on the edge between two.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch.nn import functional as F

from dfsq.nn.subset_quantizer import SubsetQuantizer
from dfsq.quantizers.blocks import in_blocks, joined, within
from dfsq.quantizers.normalization import EPSILON
from dfsq.quantizers.subset import code_table


class TracedSubset(nn.Module):
    """What a :class:`SubsetQuantizer` does, without decisions by values or sizes."""

    codes: Tensor
    values: Tensor
    limit: Tensor | None
    fixed: Tensor | None
    reach: Tensor | None
    epsilon: Tensor
    order: Tensor | None
    back: Tensor
    shares: Tensor

    def __init__(self, quantizer: SubsetQuantizer) -> None:
        super().__init__()
        self.signed, self.axis = quantizer.signed, quantizer.channel_axis
        self.bins = quantizer.universal.bins
        self.block = quantizer.block
        points = quantizer.points
        self.register_buffer("codes", code_table(points, quantizer.universal).reshape(-1))
        self.register_buffer("values", quantizer.universal.values(quantizer.points).reshape(-1))
        self.register_buffer("limit", quantizer.limit)
        self.register_buffer("fixed", quantizer.fixed)
        self.register_buffer("reach", quantizer.reach)
        self.channels, self.levels = quantizer.points.shape
        # One per channel: torch.onnx takes the addition of a number that small for one of zero, and leaves it out.
        self.register_buffer("epsilon", torch.full((self.channels,), EPSILON, device=points.device))
        feedback = quantizer.feedback
        self.register_buffer("order", None if feedback is None else feedback.order.long())
        if feedback is not None:
            self.register_buffer("back", torch.argsort(feedback.order.long()))
            # A channel gives all of its error to itself, which makes it the point that it was rounded to.
            own = torch.eye(self.channels, device=feedback.shares.device)
            self.register_buffer("shares", feedback.shares.T + own)

    def forward(self, x: Tensor) -> Tensor:
        """Quantize ``x``, samples on axis 0 and channels on the quantizer's axis."""
        ordered = x.movedim(self.axis, -1)
        if self.block is None:
            return self._nearest(ordered).movedim(-1, self.axis)
        blocks = in_blocks(_filled(within(ordered, self.reach), self.block), self.block)
        return joined(self._nearest(blocks), ordered.shape, self.block).movedim(-1, self.axis)

    def _nearest(self, x: Tensor) -> Tensor:
        """``x`` ``(N, …, C)``, every sample by itself."""
        shift, spread = self._statistics(x)
        if self.order is not None:
            return self._with_feedback(x, shift, spread, self.order)
        return self._rounded(x, shift, spread, torch.arange(self.channels, device=x.device))

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and spread, each ``(N, 1, …, C)``; fixed ``(C,)``, or a number for the whole tensor."""
        if self.fixed is not None:
            return self.fixed[0], self.fixed[1]
        pixels = tuple(range(1, x.dim() - 1))
        highest, lowest = x.amax(pixels, keepdim=True), x.amin(pixels, keepdim=True)
        if self.signed:
            shift = x.double().mean(pixels, keepdim=True).float()
            spread = torch.maximum(highest - shift, shift - lowest) + self.epsilon
        else:
            shift = torch.zeros_like(highest)
            spread = torch.maximum(highest, -lowest) + self.epsilon
        return shift, spread if self.limit is None else torch.minimum(spread, self.limit)

    def _rounded(self, x: Tensor, shift: Tensor, spread: Tensor, channel: Tensor) -> Tensor:
        """The nearest points of ``x``, in channels numbered ``channel``."""
        half = self.bins // 2
        index = ((x - shift) / spread * half).floor().clamp(-half, half - 1).long() + half
        code = _looked_up(self.codes, index + channel * self.bins).long()
        return _looked_up(self.values, code + channel * self.levels) * spread + shift

    def _with_feedback(self, x: Tensor, shift: Tensor, spread: Tensor, order: Tensor) -> Tensor:
        """Channel after channel: what rounding takes from one is taken from those after it, in shares."""
        channels = self.channels
        flat = x.flatten(1, -2).movedim(-1, 0).index_select(0, order)  # (C, N, n)
        low, wide = (each.reshape(-1, 1, channels).movedim(-1, 0).index_select(0, order) for each in (shift, spread))
        steps = torch.arange(channels, device=x.device)

        def step(rest: Tensor, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
            number, channel, shares, low, wide = inputs
            value = rest.index_select(0, number.reshape(1)).squeeze(0)
            rounded = self._rounded(value, low, wide, channel)
            return rest - shares.reshape(-1, 1, 1) * (value - rounded), rounded.clone()

        _, rounded = scan(step, flat, (steps, order, self.shares, low, wide))
        result: Tensor = rounded.index_select(0, self.back).movedim(0, -1).reshape(x.shape)
        return result


def _looked_up(table: Tensor, index: Tensor) -> Tensor:
    """``table[index]``, which torch.onnx writes as another operator."""
    found: Tensor = F.embedding(index, table[:, None]).squeeze(-1)
    return found


def _filled(x: Tensor, side: int) -> Tensor:
    """Maps ``(N, H, W, C)`` with their last row and column repeated up to whole blocks, whatever their size."""
    for axis in (1, 2):
        size = x.shape[axis]
        whole = (size + side - 1) // side * side
        x = x.index_select(axis, torch.arange(whole, device=x.device).clamp(max=size - 1))
    return x
