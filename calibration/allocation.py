"""Mixed precision: bits go to the layers where they lower the error of the network's output most, at the same average.

What a layer adds to that error at b bits follows from its sensitivity and the least error that 2^b points can make.
Weights are allocated by parameter count, activations by element count, each exactly, as an integer programme.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor

from calibration.compensation import weights_of_errors
from calibration.given import rows_of
from calibration.layers import Layer, LayerBits, Rounding
from calibration.observer import HistogramObserver
from calibration.recipes.recipe import MAX_BITS, MIN_BITS
from calibration.selection import even
from calibration.selection.exact import least_errors
from calibration.sensitivity import Sensitivity
from calibration.watching import watch
from calibration.weights import column_steps
from dfsq.errors import UsageError
from dfsq.model import SRModel
from dfsq.nn import channel_axis
from dfsq.quantizers.normalization import by_sample, channel_statistics
from dfsq.quantizers.weights import scales_of, weight_bins

if TYPE_CHECKING:
    from calibration.methods.planned import Planned

REACH = 2
"""Bits that a layer may differ from the average."""
_CHANNELS = 16
"""Channels of a layer that are looked at."""


@dataclass(frozen=True)
class Choice:
    """One layer's part in the allocation."""

    size: int
    """Parameters or elements."""
    errors: Mapping[int, float]
    """What the layer adds to the output's squared error, by bits."""


def allocate(choices: Mapping[str, Choice], average: float) -> dict[str, int]:
    """Bits per layer with the least sum of errors among all whose mean, weighted by size, is at most ``average``.

    Raises :class:`UsageError` where even the fewest bits exceed it.
    """
    options = [(name, bits) for name, choice in choices.items() for bits in choice.errors]
    names = list(choices)
    errors = np.array([choices[name].errors[bits] for name, bits in options])
    one_each = np.array([[name == own for own, _ in options] for name in names], dtype=float)
    costs = np.array([choices[name].size * bits for name, bits in options], dtype=float)
    budget = average * sum(choice.size for choice in choices.values())
    result = milp(
        errors / errors.max(),
        integrality=np.ones(len(options)),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(costs[None], 0, budget)],
        options={"mip_rel_gap": 1e-6, "time_limit": 20},
    )
    if result.x is None:
        raise UsageError(f"no allocation has an average of {average:g} bits; the fewest are {MIN_BITS}")
    return {name: bits for (name, bits), taken in zip(options, result.x, strict=True) if taken > 0.5}


@torch.inference_mode()
def mixed_precision(
    model: SRModel,
    plan: Mapping[str, LayerBits],
    batches: Iterable[Tensor],
    sensitivities: Mapping[str, Sensitivity],
    recipe: Planned,
) -> dict[str, LayerBits]:
    """``plan`` with the bits of its layers in body scope chosen such that both averages are ``recipe.avg_bits``.

    Layers that ``recipe.layer_bits`` names, and those that no image reaches, keep theirs and do not count.
    """
    assert recipe.avg_bits is not None
    least, most = math.floor(recipe.avg_bits) - REACH, math.ceil(recipe.avg_bits) + REACH
    widths = [bits for bits in range(max(MIN_BITS, least), min(MAX_BITS, most) + 1) if recipe.has_points(bits)]
    fixed = [pattern for pattern, _ in recipe.layer_bits]
    names = [
        name
        for name, bits in plan.items()
        if not bits.outside and name in sensitivities and not any(fnmatchcase(name, each) for each in fixed)
    ]
    found = choices(model, names, batches, sensitivities, recipe, widths)
    w_bits = allocate({name: each.weights for name, each in found.items()}, recipe.avg_bits)
    a_bits = allocate({name: each.inputs for name, each in found.items()}, recipe.avg_bits)
    return {**plan, **{name: LayerBits(w_bits[name], a_bits[name]) for name in names}}


@dataclass(frozen=True)
class LayerChoices:
    """What the bits of one layer do."""

    weights: Choice
    inputs: Choice


@torch.inference_mode()
def choices(
    model: SRModel,
    names: Sequence[str],
    batches: Iterable[Tensor],
    sensitivities: Mapping[str, Sensitivity],
    recipe: Rounding,
    widths: Sequence[int],
) -> dict[str, LayerChoices]:
    """What each of ``widths`` bits does for the layers called ``names``, all of which have sensitivities."""
    views = {name: _View(model.net.get_submodule(name), recipe) for name in names}
    watch(model, batches, {name: view.see for name, view in views.items()})
    return {
        name: LayerChoices(
            view.weight_choice(sensitivities[name], widths), view.input_choice(sensitivities[name], widths)
        )
        for name, view in views.items()
    }


class _View:
    """What a layer is given in full precision."""

    def __init__(self, layer: Layer, recipe: Rounding) -> None:
        self._layer = layer
        self._recipe = recipe
        self._observer = HistogramObserver(recipe.universal_set, channel_axis(layer))
        # The sums of squared spreads, as the input turns out to be signed or not.
        self._squares = {signed: torch.zeros((), dtype=torch.float64) for signed in (True, False)}
        size, groups = layer.weight[0].numel(), getattr(layer, "groups", 1)
        self._hessians = torch.zeros(groups, size, size, dtype=torch.float64)
        self._rows = 0
        self._elements = 0

    def see(self, x: Tensor) -> None:
        self._observer.observe(x)
        for sample in by_sample(x, channel_axis(self._layer)):
            for signed in self._squares:
                _, spread = channel_statistics(sample, signed)
                self._squares[signed] = self._squares[signed] + spread.double().square().cpu()
        self._elements += x.numel()
        for one in torch.split(x, 1):
            groups = torch.stack(rows_of(self._layer, one))
            self._hessians += (groups.transpose(1, 2) @ groups).cpu()
            self._rows += groups.shape[1]

    def input_choice(self, sensitivity: Sensitivity, widths: Iterable[int]) -> Choice:
        weights = weights_of_errors(sensitivity.inputs) * self._squares[self._observer.signed] / self._observer.samples
        return Choice(self._elements, _errors(self._observer.histogram(), weights, self._recipe, widths))

    def weight_choice(self, sensitivity: Sensitivity, widths: Iterable[int]) -> Choice:
        universal = self._recipe.universal_set
        weight = self._layer.weight.detach().float().flatten(1)
        steps = column_steps(weight) if self._recipe.columns else None
        scales = torch.ones(weight.shape[1]) if steps is None else scales_of(steps)
        bins, scale = weight_bins(weight / scales.to(weight.device), universal)
        histogram = torch.zeros(len(bins), universal.bins, dtype=torch.int64)
        histogram.scatter_add_(1, bins.long(), torch.ones_like(bins, dtype=torch.int64))
        hessians = self._hessians * scales.outer(scales) / self._rows
        inputs = torch.stack([weights_of_errors(each).sum() for each in hessians])
        weights = weights_of_errors(sensitivity.outputs) * scale.square()
        weights = (weights.view(len(inputs), -1) * inputs[:, None]).flatten()
        return Choice(self._layer.weight.numel(), _errors(histogram, weights, self._recipe, widths))


def _errors(histogram: Tensor, weights: Tensor, recipe: Rounding, widths: Iterable[int]) -> dict[int, float]:
    """Weighted sum of the least errors of all channels, from a few of them, by bits."""
    every = -(-len(histogram) // _CHANNELS)
    some, universal = histogram[::every], recipe.universal_set
    share = weights.sum() / weights[::every].sum()
    errors = {bits: even.least_error(some, universal, 2**bits) for bits in widths if recipe.evenly(bits)}
    if selected := [bits for bits in widths if bits not in errors]:
        least = least_errors(some, universal, 2 ** max(selected))
        errors |= {bits: least[:, 2**bits - 1] for bits in selected}
    return {bits: float(share * (weights[::every] @ errors[bits])) for bits in widths}
