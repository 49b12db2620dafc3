"""Layers left in full precision: those that help the output most for the time that they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from calibration.layers import LayerBits, Observer, Rounding
from calibration.outputs import output_errors
from calibration.ranges import ChannelRanges
from calibration.sensitivity import Sensitivity
from calibration.watching import watch
from dfsq.model import SRModel
from dfsq.networks.multiply_adds import count
from dfsq.nn import AffineQuantizer

_CONVERSION = {"openvino": 32, "onnxruntime": 128}
"""Multiply-adds that take as long as reading or writing one value in float where integers stand on both sides."""
_NEGLIGIBLE = 2e-4
"""Share of the multiply-adds."""
_ENOUGH = 10**-5.65
"""Squared error of an output value, in 0–1, below which little is gained: a fidelity of 56.5 dB."""


def without_costliest(
    plan: Mapping[str, LayerBits],
    errors: Mapping[str, float],
    costs: Mapping[str, float],
    share: float,
    total: float | None = None,
) -> dict[str, LayerBits]:
    """``plan`` without the layers whose errors are largest for their costs, as long as these make up ``share`` of all.

    A layer that costs more than is left of the share is passed over. Ends where the errors left are too small to
    matter. ``total``: what it is a share of; None: of the ``costs``.
    """
    left = share * (sum(costs.values()) if total is None else total)
    error = sum(errors.values())
    kept = dict(plan)
    for name in sorted(errors, key=lambda name: errors[name] / max(costs[name], 1e-12), reverse=True):
        if error > _ENOUGH and errors[name] > 0 and costs[name] <= left:
            left -= costs[name]
            error -= errors[name]
            del kept[name]
    return kept


def layer_costs(model: SRModel) -> dict[str, float]:
    """Multiply-adds of every layer of ``model`` by name, which its time goes by; those of functions under ""."""
    costs: dict[str, float] = {}
    for each in count(model.net, model.info.channels):
        name = "" if each.function else each.module
        costs[name] = costs.get(name, 0.0) + each.multiply_adds
    return costs


def negligible(model: SRModel) -> set[str]:
    """Layers whose time does not count: on maps of a few pixels, mostly, where OpenVINO's integers are at times wrong.

    Seen in OpenVINO 2026.4 with AVX-512: 3×3 convolutions with a zero point on maps of a single pixel.
    """
    costs = layer_costs(model)
    return {name for name, cost in costs.items() if name and cost < _NEGLIGIBLE * sum(costs.values())}


def time_in_float(model: SRModel, name: str, multiply_adds: float, target: str) -> float:
    """``multiply_adds`` of a layer, and as many as take the time that its maps take in float instead of integers."""
    if not name or not isinstance(layer := model.net.get_submodule(name), nn.Conv2d):
        return multiply_adds
    made = multiply_adds / layer.weight[0].numel()
    read = made / layer.out_channels * layer.in_channels
    return multiply_adds + _CONVERSION[target] * (made + read)


@torch.inference_mode()
def rounding_errors(
    model: SRModel,
    plan: Mapping[str, LayerBits],
    images: Sequence[Tensor],
    sensitivities: Mapping[str, Sensitivity],
    rounding: Rounding,
    extremes: Mapping[str, ChannelRanges],
) -> dict[str, float]:
    """What rounding the input of each layer to integers, and its output, adds to the squared error of an output value.

    An error that is uniform within steps of s has the variance s² / 12; those of other channels and pixels do not
    know of it. Layers whose input is no integer have no entry.
    """
    observers = {
        name: rounding.observer(model.net.get_submodule(name), extremes.get(name))
        for name, bits in plan.items()
        if bits.a_bits
    }
    watch(model, images, {name: each.observe for name, each in observers.items()})
    errors = {}
    for name, observer in observers.items():
        sensitivity = sensitivities.get(name)
        bits = plan[name].a_bits
        if sensitivity is None or bits is None or not observer.samples:
            continue
        quantizer = rounding.input_quantizer(model.net.get_submodule(name), observer, bits, sensitivity)
        if isinstance(quantizer, AffineQuantizer):
            exact = quantizer.factors is None and _is_image(observer)
            steps = quantizer.steps.double().cpu()
            errors[name] = 0.0 if exact else float((sensitivity.inputs.diagonal() * steps.square()).sum() / 12)
    if any(bits.outputs for bits in plan.values()):
        for name, error in output_errors(model, plan, images, sensitivities).items():
            errors[name] = errors.get(name, 0.0) + error
    return errors


def _is_image(observer: Observer) -> bool:
    return isinstance(observer, ChannelRanges) and observer.image_step() is not None
