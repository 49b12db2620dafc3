"""Named places of a network whose values are no layer's input, or more than that."""

from __future__ import annotations

from torch import Tensor, nn


class Place(nn.Module):
    """Passes on what it is given, ``(N, channels, H, W)``: an input quantizer may take its place.

    Without parameters or buffers, so that it is in no state dict.
    """

    def __init__(self, channels: int, channel_axis: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.channel_axis = channel_axis

    def forward(self, x: Tensor) -> Tensor:
        """``x`` itself."""
        return x


class Operand(Place):
    """An operand of one of attention's matrix products: queries, keys, values or probabilities.

    Any shape, samples on axis 0 and channels on ``channel_axis``: those of all heads, or of probabilities the heads.
    """
