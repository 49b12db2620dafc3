"""The sequential method, then training: points, latent weights and biases, against the full-precision network's output.

Needs no labels. What it starts from is the recipe ``accurate``: error feedback stays in the loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from calibration.layers import Layer, Observer
from calibration.methods.by_training import ByTraining
from calibration.methods.run import Calibration
from calibration.methods.sequential import Sequential
from calibration.models import copied
from calibration.progress import Progress
from calibration.ranges import ChannelRanges
from calibration.recipes.choice import choice
from calibration.recipes.recipe import register
from calibration.sensitivity import Sensitivity
from calibration.static import StaticObserver
from calibration.training.deviations import deviations
from calibration.training.latent import LatentLayer, StraightThrough
from calibration.training.network import frozen, with_layers
from calibration.training.points import trained_points
from calibration.training.schedule import Cosine, Group
from calibration.training.weights import latent_of
from dfsq import limits
from dfsq.model import SRModel
from dfsq.nn import QuantizedLayer, SubsetQuantizer, channel_axis, quantized_layers, quantized_places
from dfsq.runtime import compiled_quantizers

_RANGES = ("sample", "fixed")
_OBJECTIVES = ("output", "target")


@register
@dataclass(frozen=True, kw_only=True)
class Trained(ByTraining):
    """Points, weights and biases that bring the output closest to that in full precision, mean absolute difference.

    Rates are those of Adam, in units of what they change: root mean square of a layer's weights, standard deviation of
    a channel's inputs or outputs. They rise over ``warm_up`` steps and fall along a cosine.
    """

    method: ClassVar[str] = "trained"

    ranges: str = choice("sample", "of activations: of every sample's channels, or fixed per channel", known=_RANGES)
    feedback: bool = choice(True, "round channels one after the other, errors passed on")
    headroom: float | None = choice(
        1.5,
        "saturate beyond this multiple of the spread seen; null: never",
        limits=limits.HEADROOM,
        only={"ranges": ("sample",)},
    )
    objective: str = choice(
        "output", "output: that in full precision; target: in the end, HR images", known=_OBJECTIVES
    )
    target_share: float = choice(
        0.1, "of the steps, the last ones, against HR", limits=limits.SHARE, only={"objective": ("target",)}
    )
    outside_bits: int | None = choice(8, "weights outside the body scope; null: full precision", limits=limits.BITS)
    weight_rate: float = choice(0.016, "of weights, at 2 bits; half of it for every bit more", limits=limits.RATE)
    level_rate: float = choice(0.001, "of the points that weights are rounded to, likewise", limits=limits.RATE)
    point_rate: float = choice(0.002, "of the points of inputs, likewise", limits=limits.RATE)
    bias_rate: float = choice(0.0005, "of biases, likewise", limits=limits.RATE)
    warm_up: int = choice(20, "steps until rates have risen", limits=limits.STEPS)

    @property
    def needs_hr(self) -> bool:
        """Whether HR images are the objective of any steps."""
        return self.objective == "target"

    def phrase(self) -> str:
        """What the method does, in a few words."""
        towards = ", the last ones towards HR images" * self.needs_hr
        return f"points and weights trained for {self.steps} steps" + towards

    def start(self, model: SRModel, patches: Sequence[Tensor], progress: Progress) -> Start:
        """The model by the sequential method, and the units in which it is trained."""
        method = FixedStart if self.ranges == "fixed" else Sequential
        recipe = method(**{name: value for name, value in vars(self).items() if name in method.choices()})
        with compiled_quantizers(patches[0].device.type):
            run = Calibration(model, patches, recipe, progress)
            found = run.quantized(run.plan, progress)
            return Start(found, deviations(found, patches))

    def trainable(
        self, model: SRModel, start: Start, patches: Sequence[Tensor], precision: torch.dtype
    ) -> TrainedNetwork:
        """The network on trained points."""
        del patches
        return TrainedNetwork(model, start, self, precision)


@dataclass(frozen=True, kw_only=True)
class FixedStart(Sequential):
    """The sequential method with ranges that are fixed per channel: what training starts from, no recipe of its own."""

    def observer(self, layer: nn.Module, extremes: ChannelRanges | None = None) -> StaticObserver:  # type: ignore[override]
        """Holds what the layer is given."""
        del extremes
        return StaticObserver(channel_axis(layer))

    def input_quantizer(
        self, layer: nn.Module, observer: Observer, bits: int, sensitivity: Sensitivity | None
    ) -> SubsetQuantizer:
        """Points within the range that ``observer`` has seen."""
        del layer
        assert isinstance(observer, StaticObserver)
        return observer.quantizer(bits, self.universal_set, self.passing_errors(sensitivity))


@dataclass(frozen=True)
class Start:
    """What training starts from."""

    model: SRModel
    """By the sequential method."""
    units: Mapping[str, tuple[Tensor | None, Tensor | None]]
    """Standard deviations of what its quantized layers are given, and make, by name."""


class TrainedNetwork:
    """A network on trained points, as the loop takes it."""

    # Of a few crops a network at 2 bits makes nothing. Their gradients are a hundred times as long as others, and Adam
    # would hardly move for a thousand steps afterwards.
    longest: float | None = 2.0
    # Rates that suit most networks drive some away from where they start; IMDN comes back from 1.05 times its start.
    worst: float | None = 1.1

    def __init__(self, model: SRModel, start: Start, recipe: Trained, precision: torch.dtype) -> None:
        """``model`` in full precision."""
        self._teacher = copied(model)  # in float32: products of bfloat16 are off by as much as what is to be learnt
        self._start = start.model
        self._towards_output = recipe.steps - round(recipe.steps * recipe.target_share * recipe.needs_hr)
        layers = {
            name: _latent(model.net.get_submodule(name), layer, start.units[name], precision)
            for name, layer in quantized_layers(start.model.net)
        }
        operands = {name: StraightThrough(each) for name, each in quantized_places(start.model.net)}
        self.module = with_layers(model, {**layers, **operands})
        self.module.requires_grad_(False)
        self.groups = _groups([(layers[name], each) for name, each in quantized_layers(start.model.net)], recipe)

    def loss(self, step: int, lr: Tensor, hr: Tensor | None) -> Tensor:
        """Mean absolute difference to the output in full precision, or to ``hr``."""
        if step < self._towards_output:
            with torch.no_grad():
                aim = self._teacher(lr)
        else:
            assert hr is not None  # Trained.needs_hr
            aim = hr
        error: Tensor = (self.module(lr) - aim).abs().mean()
        return error

    def frozen(self) -> SRModel:
        """The quantized model that it is now."""
        return frozen(self._start, self.module)


def _groups(layers: Iterable[tuple[LatentLayer, QuantizedLayer]], recipe: Trained) -> list[Group]:
    """What is trained of ``layers``, each beside what it starts from, whose bits beyond two halve the rates."""
    rates = {
        "weight.latent": recipe.weight_rate,
        "weight.points": recipe.level_rate,
        "inputs.points": recipe.point_rate,
        "bias": recipe.bias_rate,
    }
    found: dict[float, list[Tensor]] = {}
    for layer, start in layers:
        for name, each in layer.named_parameters():
            weight, inputs = start.quantized_weight, start.input_quantizer
            bits = inputs.bits if name == "inputs.points" and inputs is not None else weight.bits
            found.setdefault(rates[name] * 2.0 ** (2 - bits), []).append(each.requires_grad_())
    return [Group(each, Cosine(rate, recipe.steps, recipe.warm_up)) for rate, each in found.items()]


def _latent(
    layer: Layer, start: QuantizedLayer, units: tuple[Tensor | None, Tensor | None], precision: torch.dtype
) -> LatentLayer:
    inputs, (unit, out) = start.input_quantizer, units
    points = trained_points(inputs, unit) if isinstance(inputs, SubsetQuantizer) and unit is not None else None
    return LatentLayer(
        layer, latent_of(start.quantized_weight).to(layer.weight.device), points, start.bias, out, precision
    )
