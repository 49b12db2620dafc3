"""Body scope of a network that the DFSQ paper does not list, found by watching a forward pass.

The rule: every convolution and linear layer except the first, the upsampler and the last, and none whose input
is a pooled map or does not depend on the image. The upsampler begins where the maps grow beyond those of the first
layer: with a transposed convolution, or with the last layer before a pixel shuffle.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from dfsq.errors import UsageError

QUANTIZABLE = (nn.Conv2d, nn.Linear)
"""Layer types that have a quantized counterpart in :mod:`dfsq.nn`."""
_LAYERS = (*QUANTIZABLE, nn.ConvTranspose2d)
_WATCHED = (*_LAYERS, nn.PixelShuffle, nn.Upsample)
_PARAMETERS = {"weight", "bias"}
_STOCK = {nn.Conv2d: nn.Conv2d(1, 1, 1, device="meta"), nn.Linear: nn.Linear(1, 1, device="meta")}
"""What a layer holds that is none of a subclass."""
_PROBE = 64
"""Height and width of the probe image: so large that strided attention branches do not shrink to 1×1."""
_GROWTH = 1.5
"""Smallest factor that counts as upsampling; padding to window sizes stays below it."""


@dataclass(frozen=True)
class _Call:
    name: str
    quantizable: bool
    layer: bool
    """Whether it has weights; pixel shuffles and interpolation have none."""
    size: int
    """Height of the map a layer takes, 0 where its input is no map."""
    result: int
    """Height of the map it returns."""
    values: tuple[int, int]
    """How many it takes and returns."""
    pooled: bool
    fingerprint: float
    """Equal for equal inputs."""


def body_scope(net: nn.Module, patterns: tuple[str, ...] | None, channels: int = 3) -> tuple[str, ...]:
    """Return the names of the layers of ``net`` in body scope, in definition or (probed) execution order.

    ``patterns`` are shell-style patterns that name the scope; without them the rule of this module applies,
    and ``net`` is run on two images of 64×64 with ``channels`` channels.
    """
    if patterns is None:
        return _probe(net, channels)
    return tuple(name for name in quantizable_layers(net) if any(fnmatchcase(name, each) for each in patterns))


def quantizable_layers(net: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """The layers of ``net`` that quantized counterparts can replace, by name, in definition order.

    Not those of a subclass that computes something else or holds more than weight and bias, nor those whose weight is
    computed (weight or spectral normalization) or that hooks are registered on.
    """
    return {name: layer for name, layer in net.named_modules() if _is_plain(layer)}


def _is_plain(layer: nn.Module) -> bool:
    kind = next((each for each in QUANTIZABLE if isinstance(layer, each)), None)
    if kind is None or layer._forward_hooks or layer._forward_pre_hooks:
        return False
    methods = ("forward", "_conv_forward", "__call__")
    if any(getattr(type(layer), name, None) is not getattr(kind, name, None) for name in methods):
        return False
    if type(layer) is not kind and vars(layer).keys() != vars(_STOCK[kind]).keys():
        return False  # something else may use what it holds
    held = {*layer._parameters, *layer._buffers, *layer._modules}
    return held == _PARAMETERS and "forward" not in vars(layer)


def without_maps(net: nn.Module, channels: int = 3) -> set[str]:
    """Names of the layers whose input is no map of the image: a pooled one, 1×1, or the same for every image.

    Such layers take no time, and an error in what they are given is one of the whole picture.
    """
    calls, others = _two_runs(net, channels)
    inputs, other_inputs = _inputs(calls), _inputs(others)
    same = {name for name in inputs if inputs[name] == other_inputs.get(name)}
    return same | {call.name for call in calls if call.pooled and call.quantizable}


def matching(net: nn.Module, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the layers that ``patterns`` name, each of at least one.

    Raises :class:`UsageError` for a pattern that matches no quantizable layer.
    """
    for pattern in patterns:
        if not body_scope(net, (pattern,)):
            names = ", ".join(list(quantizable_layers(net))[:4])
            hint = f"such layers are named like {names}" if names else "it has none"
            raise UsageError(f"`body` {pattern!r} matches no layer of the network that can be quantized; {hint}")
    return body_scope(net, patterns)


def _two_runs(net: nn.Module, channels: int) -> tuple[list[_Call], list[_Call]]:
    """What ``net`` calls for an image of noise and for a black one."""
    parameter = next(net.parameters())
    noise = torch.rand(1, channels, _PROBE, _PROBE, generator=torch.Generator().manual_seed(0))
    one, other = (
        _calls(net, image.to(parameter.device, parameter.dtype)) for image in (noise, torch.zeros_like(noise))
    )
    return one, other


def _probe(net: nn.Module, channels: int) -> tuple[str, ...]:
    calls, others = _two_runs(net, channels)
    layers = [index for index, call in enumerate(calls) if call.layer]
    if not layers:
        return ()
    outside = {calls[layers[0]].name, calls[layers[-1]].name}
    outside |= {call.name for call in calls if call.pooled}
    inputs, other_inputs = _inputs(calls), _inputs(others)
    varying = {name for name in inputs if inputs[name] != other_inputs.get(name) and name not in outside}
    upsampler = _upsampler(calls, layers)
    body = (calls[index].name for index in layers if index < upsampler and calls[index].quantizable)
    return tuple(dict.fromkeys(name for name in body if name in varying))


def _inputs(calls: list[_Call]) -> dict[str, list[float]]:
    """Fingerprints of what each layer was given, by name."""
    found: dict[str, list[float]] = {}
    for call in calls:
        found.setdefault(call.name, []).append(call.fingerprint)
    return found


def _upsampler(calls: list[_Call], layers: list[int]) -> int:
    """Index of the first call that belongs to the upsampler."""
    first = next((call.size for call in calls if call.size), _PROBE)
    for index, call in enumerate(calls):
        if max(call.size, call.result) >= _GROWTH * first:
            before = max((layer for layer in layers if layer < index), default=0)
            # A pixel shuffle, which need not be a module, grows what the layer before it computed.
            shuffled = call.size >= _GROWTH * first and call.values[0] == calls[before].values[1]
            return index if call.layer and not shuffled else before
    return len(calls)


# Not inference_mode: networks that keep a tensor of their forward pass could not be trained afterwards.
@torch.no_grad()
def _calls(net: nn.Module, image: Tensor) -> list[_Call]:
    calls: list[_Call] = []

    def watch(name: str, layer: nn.Module) -> Any:
        def record(_layer: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor) -> None:
            x = next(iter((*inputs, *named.values())))
            linear = isinstance(layer, nn.Linear)
            calls.append(
                _Call(
                    name=name,
                    # A quantized convolution finds channels on the second axis, of a batch.
                    quantizable=name in plain and bool(inputs) and (linear or x.dim() == 4),
                    layer=isinstance(layer, _LAYERS),
                    size=0 if linear else x.shape[-2],
                    result=0 if linear else output.shape[-2],
                    values=(x.numel(), output.numel()),
                    pooled=x.numel() == len(x) * x.shape[-1 if linear else 1],
                    fingerprint=x.double().square().sum().item(),
                )
            )

        return layer.register_forward_hook(record, with_kwargs=True)

    plain = quantizable_layers(net)
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
    return isinstance(layer, nn.Conv2d) and layer.in_channels in (1, 3) and layer.weight.numel() == layer.in_channels**2
