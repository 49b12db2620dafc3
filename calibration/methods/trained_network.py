"""What the method ``trained`` trains: a network on points, made of the one that the sequential method gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from calibration.layers import Layer, Observer
from calibration.luma import weighed
from calibration.methods.run import Calibration
from calibration.methods.sequential import Sequential
from calibration.models import copied
from calibration.progress import Progress, naming
from calibration.ranges import ChannelRanges
from calibration.sensitivity import Sensitivity
from calibration.static import StaticObserver
from calibration.training.deviations import deviations
from calibration.training.latent import LatentLayer, StraightThrough
from calibration.training.network import frozen, with_layers
from calibration.training.points import trained_points
from calibration.training.schedule import Cosine, Group
from calibration.training.weights import latent_of
from dfsq.model import SRModel
from dfsq.nn import QuantizedLayer, SubsetQuantizer, channel_axis, quantized_layers, quantized_places
from dfsq.runtime import compiled_quantizers

if TYPE_CHECKING:
    from calibration.methods.by_training import Score
    from calibration.methods.trained import Trained

_SLOWEST = 1 / 8
"""Of the rates of weights in body scope: what many bits round follows every step, but it has to get somewhere too."""
_LEAST = 1e-12
"""Added to mean squares, whose roots have no gradient at 0."""
_CLEARLY = 0.6
"""Share of the drop of fixed ranges that those of samples have where they are still better after training."""


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
        return observer.quantizer(bits, self.universal_set, partial(self.passing_errors, sensitivity))


@dataclass(frozen=True)
class Start:
    """What training starts from."""

    ranges: str
    """Of activations: ``sample`` or ``fixed``."""
    model: SRModel
    """By the sequential method."""
    units: Mapping[str, tuple[Tensor | None, Tensor | None]]
    """Standard deviations of what its quantized layers are given, and make, by name."""


def start(recipe: Trained, model: SRModel, patches: Sequence[Tensor], score: Score, progress: Progress) -> Start:
    """The model by the sequential method, and the units in which it is trained.

    Of ranges that the recipe leaves open, those of samples where they lose less by far: fixed ones gain more.
    """
    possible = recipe.possible_ranges
    starts: list[Start] = []
    sensitivities: Mapping[str, Sensitivity] | None = None
    with compiled_quantizers(patches[0].device.type):
        for ranges in possible:
            told = naming(progress, f"{ranges} ranges") if len(possible) > 1 else progress
            run = Calibration(model, patches, _usual(ranges, recipe), progress, sensitivities=sensitivities)
            found, sensitivities = run.quantized(run.plan, told), run.sensitivities
            starts.append(Start(ranges, found, deviations(found, patches)))
    if len(starts) == 1:
        return starts[0]
    sample, fixed = starts
    return sample if score(sample.model) < _CLEARLY * score(fixed.model) else fixed


def _usual(ranges: str, recipe: Trained) -> Sequential:
    """The sequential method with the choices of ``recipe``."""
    method = FixedStart if ranges == "fixed" else Sequential
    return method(**{name: value for name, value in vars(recipe).items() if name in method.choices()})


class TrainedNetwork:
    """A network on trained points, as the loop takes it."""

    # Of a few crops a network at 2 bits makes nothing. Their gradients are a hundred times as long as others, and Adam
    # would hardly move for a thousand steps afterwards.
    longest: float | None = 2.0
    # Rates that suit most networks drive some away from where they start; IMDN comes back from 1.2 times its best.
    worst: float | None = 1.25

    def __init__(self, model: SRModel, start: Start, recipe: Trained, precision: torch.dtype) -> None:
        """``model`` in full precision."""
        self._teacher = copied(model)  # in float32: products of bfloat16 are off by as much as what is to be learnt
        self._start = start.model
        towards_hr = max(1, round(recipe.steps * recipe.target_share)) if recipe.needs_hr else 0
        self._towards_output = recipe.steps - towards_hr
        self._absolute = recipe.steps - round(recipe.steps * recipe.squared_share)
        layers = {
            name: _latent(model.net.get_submodule(name), layer, start.units[name], precision)
            for name, layer in quantized_layers(start.model.net)
        }
        operands = {name: StraightThrough(each) for name, each in quantized_places(start.model.net)}
        self.module = with_layers(model, {**layers, **operands})
        self.module.requires_grad_(False)
        self.groups = _groups([(layers[name], each) for name, each in quantized_layers(start.model.net)], recipe)

    def loss(self, step: int, lr: Tensor, hr: Tensor | None) -> Tensor:
        """Mean absolute difference, weighed by luma, to the output in full precision or ``hr``; later plus root mean
        squares."""
        if step < self._towards_output:
            with torch.no_grad():
                aim = self._teacher(lr)
        else:
            assert hr is not None  # Trained.needs_hr
            aim = hr
        difference = weighed(self.module(lr) - aim)
        error: Tensor = difference.abs().mean()
        if step >= self._absolute:
            error = error + difference.square().mean((1, 2, 3)).add(_LEAST).sqrt().mean()
        return error

    def frozen(self) -> SRModel:
        """The quantized model that it is now."""
        return frozen(self._start, self.module)


def _groups(layers: Iterable[tuple[LatentLayer, QuantizedLayer]], recipe: Trained) -> list[Group]:
    """What is trained of ``layers``, each beside what it starts from: bits beyond two halve the rates, down to
    :data:`_SLOWEST`."""
    rates = {
        ("weight", "latent"): recipe.weight_rate,
        ("weight", "points"): recipe.level_rate,
        ("inputs", "points"): recipe.point_rate,
        ("bias", "bias"): recipe.bias_rate,
    }
    slowest = _SLOWEST * 2.0 ** (2 - recipe.w_bits)
    found: dict[float, list[Tensor]] = {}
    for layer, start in layers:
        for name, each in layer.named_parameters():
            weight, inputs = start.quantized_weight, start.input_quantizer
            part, what = name.partition(".")[0], name.rpartition(".")[2]
            bits = inputs.bits if part == "inputs" and inputs is not None else weight.bits
            found.setdefault(rates[part, what] * max(slowest, 2.0 ** (2 - bits)), []).append(each.requires_grad_())
    return [Group(each, Cosine(rate, recipe.steps, recipe.warm_up)) for rate, each in found.items()]


def _latent(
    layer: Layer, start: QuantizedLayer, units: tuple[Tensor | None, Tensor | None], precision: torch.dtype
) -> LatentLayer:
    inputs, (unit, out) = start.input_quantizer, units
    points = trained_points(inputs, unit) if isinstance(inputs, SubsetQuantizer) and unit is not None else None
    return LatentLayer(
        layer, latent_of(start.quantized_weight).to(layer.weight.device), points, start.bias, out, precision
    )
