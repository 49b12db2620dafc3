"""Body scope of a network that the DFSQ paper does not list, found by watching a forward pass.

The rule: every convolution and linear layer except the first, the upsampler and the last, and none whose input
is a pooled map or does not depend on the image. The upsampler begins with the last layer before the maps grow
beyond those of the first layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

QUANTIZABLE = (nn.Conv2d, nn.Linear)
"""Layer types that have a quantized counterpart in :mod:`dfsq.nn`."""
_WATCHED = (*QUANTIZABLE, nn.PixelShuffle, nn.Upsample, nn.ConvTranspose2d)
_PROBE = 64
"""Height and width of the probe image: so large that strided attention branches do not shrink to 1×1."""
_GROWTH = 1.5
"""Smallest factor that counts as upsampling; padding to window sizes stays below it."""


@dataclass(frozen=True)
class _Call:
    name: str
    quantizable: bool
    size: int
    """Height of the map a layer takes, 0 where its input is no map."""
    result: int
    """Height of the map it returns."""
    pooled: bool
    fingerprint: float
    """Equal for equal inputs."""


def body_scope(net: nn.Module, patterns: tuple[str, ...] | None, channels: int = 3) -> tuple[str, ...]:
    """Return the names of the layers of ``net`` in body scope, in definition or (probed) execution order.

    ``patterns`` are shell-style patterns that name the scope; without them the rule of this module applies,
    and ``net`` is run on two images of ``channels`` channels and 64×64 pixels.
    """
    if patterns is None:
        return _probe(net, channels)
    names = [name for name, layer in net.named_modules() if isinstance(layer, QUANTIZABLE)]
    return tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))


def _probe(net: nn.Module, channels: int) -> tuple[str, ...]:
    parameter = next(net.parameters())
    noise = torch.rand(1, channels, _PROBE, _PROBE, generator=torch.Generator().manual_seed(0))
    calls, others = (
        _calls(net, image.to(parameter.device, parameter.dtype)) for image in (noise, torch.zeros_like(noise))
    )
    layers = [index for index, call in enumerate(calls) if call.quantizable]
    if not layers:
        return ()
    outside = {calls[layers[0]].name, calls[layers[-1]].name}
    outside |= {call.name for call in calls if call.pooled}
    varying = {
        call.name
        for call, other in zip(calls, others, strict=True)
        if call.fingerprint != other.fingerprint and call.name not in outside
    }
    body = (calls[index].name for index in layers if index < _upsampler(calls, layers))
    return tuple(dict.fromkeys(name for name in body if name in varying))


def _upsampler(calls: list[_Call], layers: list[int]) -> int:
    """Index of the first call that belongs to the upsampler."""
    first = next((call.size for call in calls if call.size), _PROBE)
    for index, call in enumerate(calls):
        if max(call.size, call.result) >= _GROWTH * first:
            if call.quantizable:
                return index
            # A pixel shuffle grows what the layer before it computed; that layer is the upsampler.
            return max((layer for layer in layers if layer < index), default=0)
    return len(calls)


# Not inference_mode: networks that keep a tensor of their forward pass could not be trained afterwards.
@torch.no_grad()
def _calls(net: nn.Module, image: Tensor) -> list[_Call]:
    calls: list[_Call] = []

    def watch(name: str, layer: nn.Module) -> Any:
        def record(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            x = inputs[0]
            linear = isinstance(layer, nn.Linear)
            calls.append(
                _Call(
                    name=name,
                    quantizable=isinstance(layer, QUANTIZABLE),
                    size=0 if linear else x.shape[-2],
                    result=0 if linear else output.shape[-2],
                    pooled=x.numel() == len(x) * x.shape[-1 if linear else 1],
                    fingerprint=x.double().square().sum().item(),
                )
            )

        return layer.register_forward_hook(record)

    handles = [
        watch(name, layer)
        for name, layer in net.named_modules()
        if isinstance(layer, _WATCHED) and not shifts_colours(layer)
    ]
    try:
        net(image)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def shifts_colours(layer: nn.Module) -> bool:
    """Whether ``layer`` only adds a mean colour: neither a first nor a last layer as the rule means it."""
    return isinstance(layer, nn.Conv2d) and layer.weight.numel() == 9 and layer.in_channels == 3
