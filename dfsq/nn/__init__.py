"""Quantized layers that replace ``nn.Conv2d`` and ``nn.Linear`` by name, input quantizers, and places for them."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from dfsq.nn.affine_quantizer import AffineQuantizer
from dfsq.nn.bounds_quantizer import BoundsQuantizer
from dfsq.nn.conv2d import QuantizedConv2d
from dfsq.nn.error_feedback import ErrorFeedback
from dfsq.nn.gate import Gate
from dfsq.nn.input_quantizer import KINDS as INPUT_QUANTIZERS
from dfsq.nn.input_quantizer import InputQuantizer
from dfsq.nn.linear import QuantizedLinear
from dfsq.nn.place import Operand, Place
from dfsq.nn.subset_quantizer import SubsetQuantizer
from dfsq.quantizers.weights import QuantizedWeight

__all__ = [
    "INPUT_QUANTIZERS",
    "AffineQuantizer",
    "BoundsQuantizer",
    "ErrorFeedback",
    "Gate",
    "InputQuantizer",
    "Operand",
    "Place",
    "QuantizedConv2d",
    "QuantizedLayer",
    "QuantizedLinear",
    "SubsetQuantizer",
    "channel_axis",
    "counterpart",
    "input_channels",
    "operands",
    "places",
    "quantized_layers",
    "quantized_places",
    "quantizers",
    "replace",
    "takes_maps",
]

QuantizedLayer = QuantizedConv2d | QuantizedLinear


def counterpart(layer: nn.Module, weight: QuantizedWeight, input_quantizer: InputQuantizer | None) -> QuantizedLayer:
    """The quantized counterpart of ``layer``; ``input_quantizer`` None leaves its activations in full precision.

    Raises TypeError for a layer type that has none.
    """
    return _kind(layer)(layer, weight, input_quantizer)  # type: ignore[arg-type]


def replace(net: nn.Module, name: str, layer: nn.Module) -> None:
    """Put ``layer`` in the place of the one called ``name``, under whatever other names ``net`` calls it by."""
    old = net.get_submodule(name)
    for alias in [alias for alias, each in net.named_modules(remove_duplicate=False) if each is old]:
        net.set_submodule(alias, layer)


def channel_axis(layer: nn.Module) -> int:
    """Axis of a place, or of a quantizable layer's input, that holds channels. Raises TypeError for other layers."""
    return layer.channel_axis if isinstance(layer, Place) else _kind(layer).channel_axis


def takes_maps(layer: nn.Module) -> bool:
    """Whether a place is given, or a quantizable layer takes, maps ``(N, C, H, W)``."""
    return isinstance(layer, nn.Conv2d | Place) and not isinstance(layer, Operand)


def input_channels(layer: nn.Module) -> int:
    """How many channels a place, or a quantizable layer's input, has. Raises TypeError for other layers."""
    if isinstance(layer, Place):
        return layer.channels
    _kind(layer)
    return int(layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features)  # type: ignore[arg-type]


def _kind(layer: nn.Module) -> type[QuantizedConv2d] | type[QuantizedLinear]:
    if isinstance(layer, nn.Conv2d):
        return QuantizedConv2d
    if isinstance(layer, nn.Linear):
        return QuantizedLinear
    raise TypeError(f"a {type(layer).__name__} cannot be quantized, only Conv2d and Linear layers")


def quantized_layers(net: nn.Module) -> Iterator[tuple[str, QuantizedLayer]]:
    """Names and quantized layers of ``net``, in definition order."""
    for name, layer in net.named_modules():
        if isinstance(layer, QuantizedConv2d | QuantizedLinear):
            yield name, layer


def places(net: nn.Module) -> Iterator[tuple[str, Place]]:
    """Names and places of ``net`` that nothing quantizes, but for operands, in definition order."""
    for name, module in net.named_modules():
        if isinstance(module, Place) and not isinstance(module, Operand):
            yield name, module


def operands(net: nn.Module) -> Iterator[tuple[str, Operand]]:
    """Names and operands of attention's products in ``net`` that nothing quantizes, in definition order."""
    for name, module in net.named_modules():
        if isinstance(module, Operand):
            yield name, module


def quantized_places(net: nn.Module) -> Iterator[tuple[str, InputQuantizer]]:
    """Names and quantizers of ``net`` that stand where places were, in definition order."""
    layers = {name for name, _ in quantized_layers(net)}
    for name, module in net.named_modules():
        if isinstance(module, InputQuantizer) and name.rpartition(".")[0] not in layers:
            yield name, module


def quantizers(net: nn.Module) -> dict[str, InputQuantizer | None]:
    """What quantizes the inputs of quantized layers, None where nothing does, and what stands where places were, by
    name."""
    layers = {name: layer.input_quantizer for name, layer in quantized_layers(net)}
    return {**layers, **dict(quantized_places(net))}
