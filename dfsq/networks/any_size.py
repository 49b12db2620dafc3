"""Networks that take only some image sizes, made to take any."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dfsq.networks.blocks import pad_to_multiple

_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
_PROBE = (67, 43)
"""Height and width of an image that few networks with requirements can process."""


class AnySize:
    """Mixed into a network: pads its input to a size that it can process, and crops its output."""

    dfsq_multiple: int
    dfsq_minimum: int
    dfsq_square: bool
    dfsq_scale: int

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, C, H, W)`` of any height and width."""
        height, width = x.shape[-2:]
        minimum = max(height, width, self.dfsq_minimum) if self.dfsq_square else self.dfsq_minimum
        padded = pad_to_multiple(x, self.dfsq_multiple, minimum)
        output: Tensor = super().forward(padded)  # type: ignore[misc]
        return output[..., : height * self.dfsq_scale, : width * self.dfsq_scale]


def accept_any_size(net: nn.Module, scale: int, multiple: int, minimum: int = 0, square: bool = False) -> None:
    """Let ``net`` take images whose sides are no multiples of ``multiple``, below ``minimum``, or not ``square``."""
    # A subclass rather than a wrapper: parameters keep their names.
    net.__class__ = type(type(net).__name__, (AnySize, type(net)), {})
    for name, value in (("multiple", multiple), ("minimum", minimum), ("square", square), ("scale", scale)):
        setattr(net, f"dfsq_{name}", value)


@torch.no_grad()
def probe(net: nn.Module) -> tuple[int, int, int]:
    """Channels, scale and the multiple that sides must be of, found by running ``net`` on small images of noise.

    Raises ValueError with the reason where it maps neither RGB nor grey images to larger or equal ones.
    """
    reason = ""
    for channels in (3, 1):
        for multiple in _MULTIPLES:
            height, width = (-(-side // multiple) * multiple for side in _PROBE)
            image = torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0))
            try:
                result: Any = net(image)
            except Exception as error:  # whatever foreign code raises on an image that it cannot process
                reason = reason or str(error).partition("\n")[0] or type(error).__name__
                continue
            if not isinstance(result, Tensor):
                raise ValueError(f"it returns a {type(result).__name__}, not one tensor")
            scale = result.shape[-1] // width if result.dim() == 4 else 0
            if scale and tuple(result.shape) == (1, channels, height * scale, width * scale):
                return channels, scale, multiple
            sizes = ["×".join(map(str, shape)) for shape in (image.shape, result.shape)]
            reason = f"it maps {sizes[0]} to {sizes[1]}"
    raise ValueError(reason)
