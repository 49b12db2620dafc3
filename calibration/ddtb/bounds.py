"""Bounds of activations while they are trained (DDTB, trainable bounds)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from calibration.ddtb.gate import TrainableGate
from calibration.ddtb.percentile import percentile
from calibration.ddtb.straight_through import quantize
from dfsq.nn import BoundsQuantizer
from dfsq.nn.gate import channel_means


class TrainableBounds(nn.Module):
    """Rounds a tensor between two parameters, which start from percentiles of the first batch that it is given."""

    started: Tensor

    def __init__(self, bits: int, percent: float, gate: TrainableGate | None = None, channel_axis: int = 1) -> None:
        """``percent``: above 50, up to 100; the upper bound starts there, the lower one as far from the other end."""
        super().__init__()
        self.bits = bits
        self.percent = percent
        self.channel_axis = channel_axis
        self.lower = nn.Parameter(torch.zeros(()))
        self.upper = nn.Parameter(torch.zeros(()))
        self.register_buffer("started", torch.tensor(False))
        self.gate = gate
        self.gated = True
        """Whether the gate's factors are applied; its logits are computed all the same, for who trains it towards 1."""

    def forward(self, x: Tensor) -> Tensor:
        """Round ``x``, samples on axis 0; to the bit what the :meth:`frozen` quantizer gives for the same factors.

        Raises RuntimeError in evaluation before any batch was given in training.
        """
        if not self.started:
            self._start(x)
        self._keep_apart()
        lower, upper = self.lower, self.upper
        if self.gate is not None:
            logits = self.gate(channel_means(x.detach(), self.channel_axis))
            if self.gated:
                factors = 2 * logits.sigmoid().view(-1, 2, *[1] * (x.dim() - 1))
                lower, upper = lower * factors[:, 1], upper * factors[:, 0]
        return quantize(x, lower, upper, self.bits)

    def get_extra_state(self) -> Tensor:
        """Whether the gate is applied belongs to what a state dict restores."""
        return torch.tensor(self.gated)

    def set_extra_state(self, state: Tensor) -> None:
        """Inverse of :meth:`get_extra_state`."""
        self.gated = bool(state)

    @torch.no_grad()
    def _start(self, x: Tensor) -> None:
        if not self.training:
            raise RuntimeError("these bounds have not seen a batch in training, from which they start")
        self.lower.copy_(percentile(x, 100 - self.percent))
        self.upper.copy_(percentile(x, self.percent))
        self.started.fill_(True)

    @torch.no_grad()
    def _keep_apart(self) -> None:
        """Put bounds right that an optimizer has brought out of order: nothing in the method keeps it from that."""
        if self.upper <= self.lower:
            self.upper.copy_(torch.nextafter(self.lower, torch.full_like(self.lower, torch.inf)))

    def frozen(self) -> BoundsQuantizer:
        """What an artifact stores."""
        self._keep_apart()
        gate = None if self.gate is None or not self.gated else self.gate.frozen()
        return BoundsQuantizer(self.lower.item(), self.upper.item(), self.bits, gate, self.channel_axis)
