"""Image sizes that a network takes: found by running it, and any size from then on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dfsq.networks.blocks import pad_to_multiple

_MULTIPLES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)
_PROBE = (67, 43)
"""Least height and width of the images that are tried."""
_FACTORS = (1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67)
"""Sides are the multiple times one of these, each side another: then they have no larger divisor in common."""
_LEAST = 32
"""Smaller sides are tried; a network that needs larger ones gets them."""


@dataclass(frozen=True)
class Sizes:
    """What a network maps to what."""

    channels: int
    """Of its input and output: 3 for RGB, 1 for luminance."""
    scale: int
    multiple: int = 1
    """Sides are multiples of it."""
    minimum: int = 1
    """Sides are at least as long."""
    square: bool = False
    """Height equals width."""

    @property
    def restricted(self) -> bool:
        """Whether there are images that the network does not take."""
        return self.square or max(self.multiple, self.minimum) > 1


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
    kind = type(net)
    named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    net.__class__ = type(kind.__name__, (AnySize, kind), named)
    for name, value in (("multiple", multiple), ("minimum", minimum), ("square", square), ("scale", scale)):
        setattr(net, f"dfsq_{name}", value)


def probe(net: nn.Module) -> Sizes:
    """What ``net`` maps to what, found by running it on small images of noise.

    Raises ValueError with the reason where it maps neither RGB nor grey images to larger or equal ones.
    """
    reason = ""
    for channels in (3, 1):
        for multiple in _MULTIPLES:
            longer = next(each for each in _FACTORS if each * multiple >= _PROBE[0])
            shorter = next(each for each in _FACTORS if each * multiple >= _PROBE[1] and each != longer)
            sides = (longer * multiple, shorter * multiple)
            for square in (False, True):
                height, width = (sides[0], sides[0]) if square else sides
                result = attempt(net, noise(net, channels, height, width))
                if isinstance(result, Tensor):
                    if scale := _scale(result, channels, height, width):
                        minimum = _minimum(net, Sizes(channels, scale, multiple))
                        return Sizes(channels, scale, multiple, minimum, square)
                    result = _mapping((1, channels, height, width), result)
                reason = reason or result
    raise ValueError(reason)


def _minimum(net: nn.Module, sizes: Sizes) -> int:
    """The shortest side that ``net`` takes of those tried: 1, 2, 4 … times the multiple."""
    side = sizes.multiple
    while side < _LEAST:
        with suppress(TypeError, ValueError):
            result = attempt(net, noise(net, sizes.channels, side, side))
            if isinstance(result, Tensor) and _scale(result, sizes.channels, side, side) == sizes.scale:
                break
        side *= 2
    return side


def noise(net: nn.Module, channels: int, height: int, width: int, batch: int = 1) -> Tensor:
    """Images that ``net`` can be tried on, the same every time."""
    image = torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(0))
    return image.to(next(net.parameters()).device)


@torch.no_grad()
def attempt(net: nn.Module, images: Tensor) -> Tensor | str:
    """What ``net`` makes of ``images``, or why it makes nothing.

    Raises ValueError for what is no picture, and TypeError for a network that takes other arguments.
    """
    shape = images.shape
    try:
        result: Any = net(images)
    except (MemoryError, TypeError):  # too few arguments are too few at every size
        raise
    except Exception as error:  # whatever foreign code raises on an image that it cannot process
        return str(error).strip().partition("\n")[0] or type(error).__name__
    if not isinstance(result, Tensor):
        raise ValueError(f"it returns a {type(result).__name__}, not one tensor")
    if result.dim() != 4 or result.shape[1] != shape[1] or 2 * result.shape[-1] < shape[-1]:
        raise ValueError(_mapping(shape, result))
    return result


def _scale(result: Tensor, channels: int, height: int, width: int) -> int:
    """How many times as large as its input a network's output is, or 0 where it is no picture of it."""
    scale = result.shape[-1] // width
    return scale if tuple(result.shape) == (1, channels, height * scale, width * scale) else 0


def _mapping(shape: Sequence[int], result: Tensor) -> str:
    return "it maps {} to {}".format(*("×".join(map(str, each)) for each in (shape, result.shape)))
