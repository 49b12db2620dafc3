"""Quantizing one layer: what methods share, and what they say of it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from calibration.observer import HistogramObserver, TensorObserver
from calibration.ranges import ChannelRanges
from calibration.sensitivity import Sensitivity
from calibration.weights import column_steps, quantize_weight
from dfsq.nn import AffineQuantizer, InputQuantizer, QuantizedLayer
from dfsq.quantizers.universal import UniversalSet
from dfsq.quantizers.weights import ColumnScaledWeight, QuantizedWeight, UniformWeight, scales_of

Layer = nn.Conv2d | nn.Linear
Observer = HistogramObserver | TensorObserver | ChannelRanges
_FINE = 8
"""Bits from which scales of columns gain nothing: files grow by more than the scales, as all codes are used alike."""


@dataclass(frozen=True)
class LayerBits:
    """Bits of one layer; ``a_bits`` None leaves its input in full precision."""

    w_bits: int
    a_bits: int | None
    outside: bool = False
    """Whether the layer lies outside the body scope."""
    outputs: bool = False
    """Whether its output is quantized too, to ``a_bits``."""


class Rounding(Protocol):
    """How a method rounds a layer: what it looks at, and what it makes of that."""

    @property
    def weights(self) -> str:
        """One of :data:`calibration.recipes.values.WEIGHTS`."""

    @property
    def columns(self) -> bool:
        """Whether weights are in units of their columns, one for every input channel and kernel position."""

    @property
    def universal_set(self) -> UniversalSet:
        """The set that points of weights are selected from."""

    def evenly(self, bits: int) -> bool:
        """Whether points of so many bits are evenly spaced."""

    def observer(self, layer: nn.Module, extremes: ChannelRanges | None = None) -> Observer:
        """An observer for the input of ``layer``; ranges are to hold ``extremes`` too, whatever is observed."""

    def input_quantizer(
        self, layer: nn.Module, observer: Observer, bits: int, sensitivity: Sensitivity | None
    ) -> InputQuantizer:
        """The quantizer for the input that ``observer`` has seen; ``sensitivity`` tells which of its channels count."""

    def output_quantizer(self, layer: Layer, inputs: Iterable[Tensor], bits: LayerBits) -> AffineQuantizer | None:
        """The quantizer for what ``layer`` makes of ``inputs``, where ``bits`` say that it has one."""


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


def make_weight(weight: Tensor, bits: LayerBits, rounding: Rounding) -> QuantizedWeight:
    """``weight`` ``(C_out, …)`` rounded to the nearest level of the method's weight quantizer."""
    # Where inputs stay in full precision storage is all that counts, and 8 uniform bits cost the least of it.
    chosen = rounding.weights
    stored = (bits.outside and chosen == "subset") or (bits.a_bits is None and chosen == "symmetric")
    evenly = chosen == "subset" and rounding.evenly(bits.w_bits)
    method = "mse" if stored or evenly else chosen
    steps = column_steps(weight) if rounding.columns and bits.w_bits < _FINE else None
    if steps is None:
        return quantize_weight(weight, method, bits.w_bits, rounding.universal_set)
    scales = scales_of(steps).to(weight.device).reshape(weight.shape[1:])
    return ColumnScaledWeight(quantize_weight(weight / scales, method, bits.w_bits, rounding.universal_set), steps)
