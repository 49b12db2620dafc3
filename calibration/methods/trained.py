"""The sequential method, then training: points, latent weights and biases, against the full-precision network's output.

Needs no labels. Ranges are fixed per channel, so that nothing but comparisons is left when the network runs.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from calibration.layers import Layer
from calibration.training.latent import LatentLayer
from calibration.training.network import frozen, with_layers
from calibration.training.points import TrainedPoints
from calibration.training.schedule import Cosine, Group
from calibration.training.weights import latent_of
from calibration.watching import watch
from dfsq.model import SRModel
from dfsq.nn import QuantizedLayer, SubsetQuantizer, channel_axis, quantized_layers

_LEAST = 1e-3
"""Unit of channels that hardly change, as a share of the largest."""
_TINY = 1e-6
"""Least unit of all."""


class TrainedNetwork:
    """A network on trained points, as the loop takes it."""

    def __init__(
        self, model: SRModel, start: SRModel, images: Sequence[Tensor], recipe, precision: torch.dtype
    ) -> None:
        """``model`` in full precision; ``start``: quantized by the sequential method, with fixed ranges."""
        self._teacher = copy.deepcopy(model)
        self._start = start
        self._precision = precision
        units = _deviations(start, images)
        layers = {
            name: _latent(model.net.get_submodule(name), layer, units[name], precision)
            for name, layer in quantized_layers(start.net)
        }
        self.module = with_layers(model, layers)
        self.module.requires_grad_(False)
        rates = {
            "weight.latent": recipe.weight_rate,
            "weight.points": recipe.level_rate,
            "inputs.points": recipe.point_rate,
            "bias": recipe.bias_rate,
        }
        self.groups = []
        for kind, rate in rates.items():
            found = [each for layer in layers.values() for name, each in layer.named_parameters() if name == kind]
            for each in found:
                each.requires_grad_()
            if found:
                self.groups.append(Group(found, Cosine(rate, recipe.steps, recipe.warm_up)))

    def loss(self, step: int, lr: Tensor, hr: Tensor | None) -> Tensor:
        """Mean absolute difference to the output in full precision."""
        with torch.no_grad():
            aim = self._teacher(lr)
        error: Tensor = (self.module(lr) - aim).abs().mean()
        return error

    def frozen(self) -> SRModel:
        """The quantized model that it is now."""
        return frozen(self._start, self.module)


def _latent(
    layer: Layer, start: QuantizedLayer, units: tuple[Tensor | None, Tensor | None], precision: torch.dtype
) -> LatentLayer:
    inputs, (unit, out) = start.input_quantizer, units
    points = None
    if isinstance(inputs, SubsetQuantizer) and unit is not None and inputs.fixed is not None:
        shift, spread = inputs.fixed
        levels = inputs.universal.values(inputs.points) * spread[:, None] + shift[:, None]
        points = TrainedPoints(levels, unit, inputs.bits, channel_axis(layer))
    return LatentLayer(layer, latent_of(start.quantized_weight, layer.weight), points, start.bias, out, precision)


def _deviations(model: SRModel, images: Sequence[Tensor]) -> dict[str, tuple[Tensor | None, Tensor | None]]:
    """Standard deviations of the channels of what quantized layers are given ``(C_in,)``, and make ``(C_out,)``."""
    names = {name: channel_axis(layer) for name, layer in quantized_layers(model.net)}
    inputs, outputs = ({name: _Deviation(axis) for name, axis in names.items()} for _ in range(2))
    watch(model, images, inputs, outputs)
    return {name: (inputs[name].found(), outputs[name].found()) for name in names}


class _Deviation:
    """Adds up what it is called with."""

    def __init__(self, channel_axis: int) -> None:
        self._axis = channel_axis
        self._sums: list[Tensor] = []

    def __call__(self, x: Tensor) -> None:
        rows = x.movedim(self._axis, -1).flatten(0, -2).double()
        self._sums.append(torch.stack([torch.full_like(rows[0], len(rows)), rows.sum(0), rows.square().sum(0)]))

    def found(self) -> Tensor | None:
        """The standard deviation of every channel, None where nothing was seen."""
        if not self._sums:
            return None
        count, total, squares = torch.stack(self._sums).sum(0)
        deviation = (squares / count - (total / count).square()).clamp_min(0).sqrt().float()
        least = max(_LEAST * float(deviation.max()), _TINY)
        return deviation.clamp_min(least)
