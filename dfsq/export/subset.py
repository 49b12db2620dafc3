"""Subset quantization as a graph: look-ups for a whole batch at once, and error feedback as one loop.

The same arithmetic as :mod:`dfsq.nn.subset_quantizer`, in operators that ONNX has. Values that engines compute with other
last bits go to another point where they lie on the edge between two.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from dfsq.nn.subset_quantizer import SubsetQuantizer
from dfsq.quantizers.normalization import EPSILON
from dfsq.quantizers.subset import code_table


class TracedSubset(nn.Module):
    """What a :class:`SubsetQuantizer` does, without decisions by values or sizes."""

    codes: Tensor
    values: Tensor
    limit: Tensor
    fixed: Tensor

    def __init__(self, quantizer: SubsetQuantizer) -> None:
        super().__init__()
        self.signed, self.axis = quantizer.signed, quantizer.channel_axis
        self.bins = quantizer.universal.bins
        points = quantizer.points.cpu()
        self.register_buffer("codes", code_table(points, quantizer.universal).to(quantizer.points.device).reshape(-1))
        self.register_buffer("values", quantizer.universal.values(quantizer.points).reshape(-1))
        self.register_buffer("limit", quantizer.limit)
        self.register_buffer("fixed", quantizer.fixed)
        self.feedback = quantizer.feedback
        self.channels, self.levels = quantizer.points.shape

    def forward(self, x: Tensor) -> Tensor:
        """Quantize ``x``, samples on axis 0 and channels on the quantizer's axis."""
        ordered = x.movedim(self.axis, -1)
        shift, spread = self._statistics(ordered)
        if self.feedback is None:
            rounded = self._rounded(ordered, shift, spread, self._first(ordered.device))
        else:
            rounded = self._with_feedback(ordered, shift, spread, self.feedback.order, self.feedback.shares)
        return rounded.movedim(-1, self.axis)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and spread, each ``(N, 1, …, C)``, or ``(1,)`` for the whole tensor."""
        if self.fixed is not None:
            return self.fixed[:1], self.fixed[1:]
        pixels = tuple(range(1, x.dim() - 1))
        highest, lowest = x.amax(pixels, keepdim=True), x.amin(pixels, keepdim=True)
        if self.signed:
            shift = x.double().mean(pixels, keepdim=True).float()
            spread = torch.maximum(highest - shift, shift - lowest) + EPSILON
        else:
            shift = torch.zeros_like(highest)
            spread = torch.maximum(highest, -lowest) + EPSILON
        return shift, spread if self.limit is None else torch.minimum(spread, self.limit)

    def _first(self, device: torch.device) -> Tensor:
        """Numbers ``(C,)`` of the channels."""
        return torch.arange(self.channels, dtype=torch.int32, device=device)

    def _rounded(self, x: Tensor, shift: Tensor, spread: Tensor, channel: Tensor) -> Tensor:
        half = self.bins // 2
        index = ((x - shift) / spread * half).floor().clamp(-half, half - 1).to(torch.int32) + half
        code = self.codes[(index + channel * self.bins).clamp_min(0)].to(torch.int32)
        return self.values[code + channel * self.levels] * spread + shift

    def _with_feedback(self, x: Tensor, shift: Tensor, spread: Tensor, order: Tensor, shares: Tensor) -> Tensor:
        """Channel after channel: what rounding takes from one is taken from those after it, in shares."""
        channels = x.shape[-1]
        flat = x.flatten(1, -2).movedim(-1, 0)  # (C, N, n)
        shift, spread = (each.reshape(-1, 1, channels).movedim(-1, 0) for each in (shift, spread))
        # A channel gives all of its error to itself, which makes it the point that it was rounded to.
        column = shares.T + torch.eye(channels, device=x.device)
        steps = torch.arange(channels, device=x.device)
        order = order.long()

        def step(rest: Tensor, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
            number, channel, share, low, wide = inputs
            value = rest.index_select(0, number.reshape(1))[0]
            rounded = self._rounded(value, low, wide, channel.to(torch.int32))
            return rest - share.reshape(-1, 1, 1) * (value - rounded), rounded.clone()

        inputs = (steps, order, column, shift[order], spread[order])
        _, rounded = scan(step, flat[order], inputs)
        back = torch.argsort(order)
        return rounded[back].movedim(0, -1).reshape(x.shape)
