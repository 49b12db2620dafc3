"""Quantized layers that replace ``nn.Conv2d`` and ``nn.Linear`` by name."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from dfsq.nn.conv2d import QuantizedConv2d
from dfsq.nn.linear import QuantizedLinear
from dfsq.nn.subset_quantizer import SubsetQuantizer
from dfsq.quantizers.weights import QuantizedWeight

__all__ = [
    "QuantizedConv2d",
    "QuantizedLayer",
    "QuantizedLinear",
    "SubsetQuantizer",
    "channel_axis",
    "quantized_layers",
    "replace",
]

QuantizedLayer = QuantizedConv2d | QuantizedLinear


def replace(net: nn.Module, name: str, weight: QuantizedWeight, input_quantizer: SubsetQuantizer | None) -> None:
    """Put the quantized counterpart of layer ``name`` in its place in ``net``.

    ``input_quantizer`` None leaves the activations of the layer in full precision. Raises TypeError for a layer type
    without a quantized counterpart.
    """
    layer = net.get_submodule(name)
    quantized = _counterpart(layer)(layer, weight, input_quantizer)  # type: ignore[arg-type]
    parent, _, attribute = name.rpartition(".")
    setattr(net.get_submodule(parent), attribute, quantized)


def channel_axis(layer: nn.Module) -> int:
    """Axis of a quantizable layer's input that holds its channels. Raises TypeError for other layers."""
    return _counterpart(layer).channel_axis


def _counterpart(layer: nn.Module) -> type[QuantizedConv2d] | type[QuantizedLinear]:
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
