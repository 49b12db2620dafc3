"""Named places of a network whose values are no layer's input, or more than that."""

from __future__ import annotations

from torch import Tensor, nn


class Place(nn.Module):
    """Passes on what it is given, ``(N, channels, H, W)``: an input quantizer may take its place.

    Without parameters or buffers, so that it is in no state dict.
    """

    channel_axis = 1

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """``x`` itself."""
        return x
