"""Quantizing one layer from what was observed at its input."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from calibration.compensation import triangle
from calibration.observer import HistogramObserver, TensorObserver
from calibration.recipe import Recipe
from calibration.selection import select
from calibration.sensitivity import Sensitivity
from calibration.weights import quantize_weight
from dfsq.nn import ErrorFeedback, SubsetQuantizer, channel_axis
from dfsq.quantizers.weights import QuantizedWeight

Layer = nn.Conv2d | nn.Linear


@dataclass(frozen=True)
class LayerBits:
    """Bits of one layer; ``a_bits`` None leaves its input in full precision."""

    w_bits: int
    a_bits: int | None
    outside: bool = False
    """Whether the layer lies outside the body scope."""


def make_observer(layer: nn.Module, recipe: Recipe) -> HistogramObserver | TensorObserver:
    """An observer for the input of ``layer``."""
    if recipe.granularity == "tensor":
        return TensorObserver(recipe.universal_set)
    return HistogramObserver(recipe.universal_set, channel_axis(layer))


def make_input_quantizer(
    layer: nn.Module,
    observer: HistogramObserver | TensorObserver,
    bits: int,
    sensitivity: Sensitivity | None,
    recipe: Recipe,
) -> SubsetQuantizer:
    """The quantizer for the input that ``observer`` has seen; ``sensitivity`` is what error feedback goes by."""
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


def make_weight(weight: Tensor, bits: LayerBits, recipe: Recipe) -> QuantizedWeight:
    """``weight`` ``(C_out, …)`` rounded to the nearest level of the recipe's weight quantizer."""
    # Outside the body scope storage is all that counts, and 8 uniform bits cost the least of it.
    method = "mse" if bits.outside and recipe.weights == "subset" else recipe.weights
    return quantize_weight(weight, method, bits.w_bits, recipe.universal_set)
