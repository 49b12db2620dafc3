"""The analysis of a quantized network: figures of every layer, and what each of them costs the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from scipy.stats import spearmanr
from torch import nn

from calibration.analysis.parts import Exchange, Part, check_twins, quantized_parts, quantizer_of
from calibration.analysis.prediction import predicted_errors
from calibration.analysis.proposal import Proposal, propose
from calibration.analysis.scenes import Scenes
from calibration.analysis.signals import Signal, observe, weight_sqnr
from calibration.layers import Layer
from calibration.progress import Progress, silent
from dfsq import distributed
from dfsq.errors import UsageError
from dfsq.evaluation.benchmarks import Benchmark
from dfsq.model import SRModel
from dfsq.networks.multiply_adds import behind_places, of_model
from dfsq.nn import InputQuantizer


@dataclass(frozen=True)
class LayerAnalysis:
    """One quantized layer, or place between layers."""

    name: str
    position: int
    """In the network, from 0."""
    kind: str
    """Class of the layer or place in full precision."""
    shape: tuple[int, ...]
    """Of the weight; () for a place."""
    parameters: int
    """Weights and biases."""
    multiply_adds: float
    """Share of the network's, in 0–1."""
    w_bits: int | None
    """None for a place."""
    a_bits: int | None
    """None where the input stays in full precision."""
    weight_sqnr: float | None
    """Signal-to-quantization-noise ratio of the weights, dB; compensation, which moves them on purpose, lowers it."""
    input_sqnr: float | None
    """Likewise of the input; error feedback, which trades noise for noise that matters less, lowers it."""
    low: float
    """Least input seen."""
    high: float
    """Largest input seen."""
    spread: float
    """How much the width of the range differs between images: standard deviation over mean."""
    predicted: float | None
    """Mean squared error of the network's output from this layer alone, by its sensitivity, values in 0–1; None for a
    network that takes no gradients."""
    error: float
    """The same, measured: all but this layer in full precision."""
    removed: float
    """By how much that of the quantized network is less with this layer in full precision."""
    alone: float
    """Drop of Y-PSNR with this layer alone quantized, dB."""
    recovered: float
    """By how much less Y-PSNR drops with all but this layer quantized, dB."""


@dataclass(frozen=True)
class Analysis:
    """What quantization did to a network."""

    layers: tuple[LayerAnalysis, ...]
    """The one whose error counts most first."""
    full: float
    """Y-PSNR in full precision, dB, mean over the images."""
    quantized: float
    """Likewise of the quantized network."""
    error: float
    """Mean squared difference of its output from that in full precision, values in 0–1."""
    rest: float
    """What of that remains with all these layers in full precision: training may change more than it quantizes."""
    images: tuple[str, ...]
    """Names of the images; of each its middle counts."""
    unreached: tuple[str, ...]
    """Layers that no image reaches."""
    proposal: Proposal | None
    """What to do about it; None where nothing is to be gained."""

    @property
    def drop(self) -> float:
        """Y-PSNR that quantization costs, dB."""
        return self.full - self.quantized

    @property
    def agreement(self) -> float | None:
        """Spearman's rank correlation of predicted and measured errors, −1…1; None without predictions or with fewer
        than three layers."""
        pairs = [(each.predicted, each.error) for each in self.layers if each.predicted is not None]
        if len(pairs) < 3:
            return None
        found = float(spearmanr(*zip(*pairs, strict=True)).statistic)
        return found if math.isfinite(found) else None  # all errors alike have no order


@dataclass(frozen=True)
class _Cost:
    error: float
    removed: float
    alone: float
    recovered: float


def analyze(full: SRModel, quantized: SRModel, images: Benchmark, progress: Progress = silent) -> Analysis:
    """Analyze ``quantized``, which is made of ``full``, on the middles of ``images``: whole ones take too long.

    Every layer is measured twice: quantized alone, and alone in full precision. Several processes share the layers.
    ``full`` must be in the units of ``quantized``: see :func:`calibration.analysis.units.in_units_of`. Raises
    :class:`UsageError` for models that do not belong together, and what reading images raises.
    """
    check_twins(full, quantized)
    parts = quantized_parts(quantized)
    scenes = Scenes(full, images)
    signals = observe(full, parts, scenes.lr)
    reached = [name for name in parts if signals[name].reached]
    predicted = _predicted(full, {name: parts[name] for name in reached}, scenes, progress)
    lifted = Exchange(quantized, {name: full.net.get_submodule(name) for name in parts})
    lowered = Exchange(full, parts)
    whole = scenes.seen(quantized)
    drop = scenes.full - whole.psnr

    def cost(item: tuple[int, str]) -> _Cost:
        done, name = item
        progress("Measuring layers", done, len(reached))
        with lowered.of([name]) as model:
            alone = scenes.seen(model)
        with lifted.of([name]) as model:
            rest = scenes.seen(model)
        return _Cost(alone.error, whole.error - rest.error, scenes.full - alone.psnr, rest.psnr - whole.psnr)

    costs = dict(zip(reached, distributed.share(list(enumerate(reached)), cost), strict=True))
    progress("Measuring layers", len(reached), len(reached))
    multiply_adds, behind = of_model(quantized).layers, behind_places(quantized)
    layers = [
        _layer(
            name,
            position,
            full.net.get_submodule(name),
            parts[name],
            signals[name],
            predicted.get(name),
            costs[name],
            multiply_adds.get(name, 0.0),
            behind.get(name),
        )
        for position, name in enumerate(reached)
    ]
    layers.sort(key=lambda each: -each.removed)  # scores are noisier: they compare with HR

    def drop_without(names: Sequence[str]) -> float:
        with lifted.of(names) as model:  # in proportion to the error, which is far steadier than scores are
            return drop * scenes.seen(model).error / whole.error

    with lifted.of(parts) as model:
        rest = scenes.seen(model).error
    worst = {each.name: min(each.w_bits or 8, each.a_bits or 8) for each in layers if each.removed > 0}
    assert quantized.quantization is not None
    proposal = propose(worst, len(layers), drop, drop_without, quantized.quantization.recipe, progress)
    return Analysis(
        tuple(layers),
        scenes.full,
        whole.psnr,
        whole.error,
        rest,
        tuple(pair.name for pair in images.pairs),
        tuple(name for name in parts if name not in reached),
        proposal,
    )


def _predicted(full: SRModel, parts: Mapping[str, Part], scenes: Scenes, progress: Progress) -> Mapping[str, float]:
    """Errors of the layers by their sensitivity; none where the network takes no gradients."""
    try:
        return predicted_errors(full, parts, scenes.lr, progress)
    except UsageError:
        return {}


def _layer(
    name: str,
    position: int,
    layer: nn.Module,
    part: Part,
    signal: Signal,
    predicted: float | None,
    cost: _Cost,
    multiply_adds: float,
    behind: int | None,
) -> LayerAnalysis:
    """All figures; ``behind``: bits of the place that an input without a quantizer comes from."""
    low, high = signal.range
    quantizer = quantizer_of(part)
    weight = None if isinstance(part, InputQuantizer) else part.quantized_weight
    return LayerAnalysis(
        name=name,
        position=position,
        kind=type(layer).__name__,
        shape=() if weight is None else tuple(weight.codes.shape),
        parameters=sum(each.numel() for each in layer.parameters()),
        multiply_adds=multiply_adds,
        w_bits=None if weight is None else weight.bits,
        a_bits=behind if quantizer is None else quantizer.bits,
        weight_sqnr=None if isinstance(part, InputQuantizer) else weight_sqnr(cast(Layer, layer), part),
        input_sqnr=signal.sqnr,
        low=low,
        high=high,
        spread=signal.spread,
        predicted=predicted,
        **vars(cost),
    )
