"""How far the maps of a network reach, on images and on what is more vivid than they are.

Maps reach furthest at edges between saturated colours. A few dozen patches of photographs hold none, and a picture that
does would be cut off: a red flower cost CARN-M 0.4 dB, a red sign more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from calibration.layers import LayerBits
from calibration.ranges import ChannelRanges
from calibration.watching import watch
from dfsq.model import SRModel
from dfsq.nn import channel_axis

_BOOST = 3.0
"""How many times as far from grey vivid colours are."""


def observe(
    model: SRModel, plan: Mapping[str, LayerBits], images: Iterable[Tensor]
) -> dict[tuple[str, str], ChannelRanges]:
    """Extremes of what layers read and make, where that is to be rounded, by name and ``inputs`` or ``outputs``."""
    axes = {name: channel_axis(model.net.get_submodule(name)) for name in plan}
    inputs = {name: ChannelRanges(axes[name]) for name, bits in plan.items() if bits.a_bits is not None}
    outputs = {name: ChannelRanges(axes[name]) for name, bits in plan.items() if bits.outputs}
    watch(
        model,
        images,
        {name: each.observe for name, each in inputs.items()},
        {name: each.observe for name, each in outputs.items()},
    )
    ranges = {(name, "inputs"): each for name, each in inputs.items()}
    return {**ranges, **{(name, "outputs"): each for name, each in outputs.items()}}


def vivid(images: Tensor) -> Tensor:
    """``images`` ``(N, 3, H, W)`` in 0–1, every channel stretched to 0–1, and colours then drawn away from grey."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    stretched = (images - low) / torch.where(high > low, high - low, 1.0)
    grey = stretched.mean(1, keepdim=True)
    return (grey + _BOOST * (stretched - grey)).clamp(0, 1)
