"""Body scope of a network that the DFSQ paper does not list, found by watching one forward pass.

The rule (DESIGN §2.1): every convolution and linear layer except the first, the upsampler and the last, and none whose input
is a pooled 1×1 map. The upsampler begins with the last layer before the maps grow beyond the input size.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

QUANTIZABLE = (nn.Conv2d, nn.Linear)
"""Layer types that have a quantized counterpart in :mod:`dfsq.nn`."""
_PROBE = 64
"""Height and width of the probe image: large enough that strided attention branches do not shrink to 1×1 by themselves."""


def body_scope(net: nn.Module, patterns: tuple[str, ...] | None, channels: int = 3) -> tuple[str, ...]:
    """Return the names of the layers of ``net`` in body scope, in execution order where it was probed.

    ``patterns`` are shell-style patterns that name the scope; without them the rule of this module applies.
    """
    if patterns is not None:
        names = [name for name, layer in net.named_modules() if isinstance(layer, QUANTIZABLE)]
        return tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))
    return _probe(net, channels)


@torch.inference_mode()
def _probe(net: nn.Module, channels: int) -> tuple[str, ...]:
    calls: list[tuple[str, bool, bool, bool]] = []  # name, quantizable, sees a grown map, sees a 1×1 map

    def record(name: str, layer: nn.Module) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            maps = inputs[0].dim() == 4 and not isinstance(layer, nn.Linear)
            grown = maps and max(inputs[0].shape[-1], output.shape[-1]) > _PROBE
            pooled = maps and inputs[0].shape[-2:] == (1, 1)
            calls.append((name, isinstance(layer, QUANTIZABLE), grown, pooled))

        return layer.register_forward_hook(hook)

    watched = (*QUANTIZABLE, nn.PixelShuffle, nn.Upsample, nn.ConvTranspose2d)
    handles = [record(name, layer) for name, layer in net.named_modules() if isinstance(layer, watched)]
    try:
        parameter = next(net.parameters())
        net(torch.zeros(1, channels, _PROBE, _PROBE, device=parameter.device, dtype=parameter.dtype))
    finally:
        for handle in handles:
            handle.remove()

    growth = next((index for index, call in enumerate(calls) if call[2]), len(calls))
    layers = [index for index, call in enumerate(calls) if call[1]]
    # A pixel shuffle grows what the convolution before it computed; that convolution is the upsampler.
    if growth < len(calls) and not calls[growth][1]:
        growth = max((index for index in layers if index < growth), default=0)
    inside = [index for index in layers[1:-1] if index < growth]
    pooled = {calls[index][0] for index in layers if calls[index][3]}
    first, last = calls[layers[0]][0], calls[layers[-1]][0]
    return tuple(dict.fromkeys(calls[i][0] for i in inside if calls[i][0] not in pooled | {first, last}))
