"""Quantizing one layer from what was observed at its input."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import Tensor, nn

from calibration import ranges
from calibration.compensation import triangle
from calibration.observer import HistogramObserver, TensorObserver
from calibration.ranges import ChannelRanges
from calibration.recipe import Recipe
from calibration.selection import select
from calibration.sensitivity import Sensitivity
from calibration.weights import quantize_weight
from dfsq.nn import AffineQuantizer, ErrorFeedback, InputQuantizer, QuantizedLayer, SubsetQuantizer, channel_axis
from dfsq.quantizers.weights import QuantizedWeight, UniformWeight

Layer = nn.Conv2d | nn.Linear
Observer = HistogramObserver | TensorObserver | ChannelRanges


@dataclass(frozen=True)
class LayerBits:
    """Bits of one layer; ``a_bits`` None leaves its input in full precision."""

    w_bits: int
    a_bits: int | None
    outside: bool = False
    """Whether the layer lies outside the body scope."""
    outputs: bool = False
    """Whether its output is quantized too, to ``a_bits``."""


def make_observer(layer: nn.Module, recipe: Recipe, extremes: ChannelRanges | None = None) -> Observer:
    """An observer for the input of ``layer``; ranges are to hold ``extremes`` too, whatever is observed."""
    if recipe.selector == "equalized":
        observer = ChannelRanges(channel_axis(layer))
        observer.widen(extremes)
        return observer
    if recipe.granularity == "tensor":
        return TensorObserver(recipe.universal_set)
    return HistogramObserver(recipe.universal_set, channel_axis(layer))


def make_input_quantizer(
    layer: nn.Module,
    observer: Observer,
    bits: int,
    sensitivity: Sensitivity | None,
    recipe: Recipe,
) -> InputQuantizer:
    """The quantizer for the input that ``observer`` has seen; ``sensitivity`` tells which of its channels count."""
    if isinstance(observer, ChannelRanges):
        if recipe.target == "onnxruntime":
            return ranges.for_tensor(observer, bits, recipe.headroom, channel_axis(layer))
        weights = None if sensitivity is None else sensitivity.inputs.diagonal()
        return ranges.equalized(observer, bits, weights, recipe.headroom, channel_axis(layer))
    if isinstance(observer, TensorObserver) and recipe.selector in ranges.SELECTORS:
        return ranges.fixed_range(recipe.selector, observer, bits, channel_axis(layer))
    universal = recipe.universal_set
    points = select(recipe.selector, observer.histogram(), universal, bits, restarts=recipe.restarts, seed=recipe.seed)
    if isinstance(observer, TensorObserver):
        return SubsetQuantizer(points, True, bits, universal, channel_axis(layer), fixed=observer.fixed())
    # Rounded to what the artifact stores.
    limit = None if recipe.headroom is None else (recipe.headroom * observer.spread()).bfloat16().float()
    feedback = None
    if recipe.feedback and sensitivity is not None:
        feedback = ErrorFeedback(*triangle(sensitivity.inputs))
    return SubsetQuantizer(points, observer.signed, bits, universal, channel_axis(layer), limit, feedback)


def adapted(layer: Layer, quantizer: InputQuantizer | None) -> Layer:
    """``layer`` for inputs in the units of ``quantizer``; itself where these are the network's own."""
    if quantizer is None:
        return layer
    weight = quantizer.adapted(layer.weight.detach(), getattr(layer, "groups", 1))
    if weight.data_ptr() == layer.weight.data_ptr():
        return layer
    result = copy.deepcopy(layer)
    result.weight = nn.Parameter(weight, requires_grad=False)
    return result


def round_bias(layer: QuantizedLayer) -> QuantizedLayer:
    """``layer``, its bias rounded to multiples of the products that it is added to, as engines hold it: int32."""
    weight, inputs = layer.quantized_weight, layer.input_quantizer
    if isinstance(weight, UniformWeight) and isinstance(inputs, AffineQuantizer) and layer.bias is not None:
        unit = weight.scale.to(layer.bias) * inputs.scale
        layer.bias = nn.Parameter((layer.bias.detach() / unit).round() * unit, requires_grad=False)
    return layer


def make_weight(weight: Tensor, bits: LayerBits, recipe: Recipe) -> QuantizedWeight:
    """``weight`` ``(C_out, …)`` rounded to the nearest level of the recipe's weight quantizer."""
    # Where inputs stay in full precision storage is all that counts, and 8 uniform bits cost the least of it.
    stored = (bits.outside and recipe.weights == "subset") or (bits.a_bits is None and recipe.weights == "symmetric")
    method = "mse" if stored else recipe.weights
    return quantize_weight(weight, method, bits.w_bits, recipe.universal_set)
