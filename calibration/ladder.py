"""Steps that raise the precision of one layer each, in the order of predicted help for what they cost.

A recipe that stores few bits is raised by a bit of one layer at a time, up to eight, at the cost of the bits that the
file then holds. Integers that engines run have the bits that engines take: there a layer is left in full precision, at
the cost of its multiply-adds.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from calibration.allocation import choices
from calibration.layers import Layer, LayerBits
from calibration.methods.planned import Planned
from calibration.methods.run import Calibration
from calibration.planning import Plan
from calibration.progress import Progress
from calibration.recipes.recipe import MAX_BITS
from calibration.sensitivity import Sensitivity, measure
from dfsq import distributed
from dfsq.quantizers.points import stored_bits

MOST_FLOAT = 0.5
"""Share of the multiply-adds of integer layers that may be left in full precision: beyond it little is gained."""
IMAGES = 8
"""Images that predictions are made from, where the recipe itself makes none."""


@dataclass(frozen=True)
class Rung:
    """One precision of a layer."""

    bits: LayerBits | None
    """None: full precision."""
    error: float
    """What the layer is predicted to add to the squared error of an output value."""
    cost: float
    """Of any unit, above that of the precisions below."""


@dataclass(frozen=True)
class Step:
    """One layer, raised to its next precision."""

    layer: str
    bits: LayerBits | None
    saved: float
    """Of the squared error of an output value, as predicted."""


@dataclass(frozen=True)
class Ladder:
    """Steps in order, and what is predicted after each."""

    steps: Sequence[Step]
    predicted: Sequence[float]
    """Squared error of an output value after 0, 1, 2 … steps, up to a factor; does not grow."""


def plan_after(plan: Plan, steps: Sequence[Step]) -> dict[str, LayerBits]:
    """``plan`` with the layers raised that ``steps`` raise."""
    raised = dict(plan)
    for step in steps:
        if step.bits is None:
            del raised[step.layer]
        else:
            raised[step.layer] = step.bits
    return raised


def ladder(run: Calibration, progress: Progress) -> Ladder:
    """All steps from the plan of ``run`` upwards; layers that ``layer_bits`` names keep the bits they are given."""

    def build(_batches: object) -> Ladder:
        fixed = [pattern for pattern, _ in run.recipe.layer_bits]
        names = [name for name in run.plan if not any(fnmatchcase(name, each) for each in fixed)]
        if run.recipe.for_engines:
            rungs = _left_in_float(run, names, progress)
            return climbed(rungs, MOST_FLOAT * sum(each[-1].cost for each in rungs.values()))
        return climbed(_more_bits(run, names, progress))

    # Sums in floating point: the work of one process.
    (found,) = distributed.share([run.images], build)
    return found


def climbed(rungs: Mapping[str, Sequence[Rung]], budget: float = float("inf")) -> Ladder:
    """The ladder out of the ``rungs`` of every layer, lowest first: the most help for its cost comes first.

    Where a rung helps little but one above it much, it counts as a part of the way there. Steps that would exceed the
    ``budget`` are passed over.
    """
    left = budget
    waiting = [(-_slope(each, 0), name, 0) for name, each in rungs.items() if len(each) > 1]
    heapq.heapify(waiting)
    steps = []
    while waiting:
        _, name, index = heapq.heappop(waiting)
        below, above = rungs[name][index : index + 2]
        cost = above.cost - below.cost
        if cost > left:
            continue
        left -= cost
        steps.append(Step(name, above.bits, max(below.error - above.error, 0.0)))
        if index + 2 < len(rungs[name]):
            heapq.heappush(waiting, (-_slope(rungs[name], index + 1), name, index + 1))
    predicted = [sum(each[0].error for each in rungs.values())]
    for step in steps:
        predicted.append(max(predicted[-1] - step.saved, 0.0))
    return Ladder(steps, predicted)


def _slope(rungs: Sequence[Rung], index: int) -> float:
    """The best help for its cost of all rungs above that of ``index``."""
    here = rungs[index]
    return max((here.error - each.error) / max(each.cost - here.cost, 1e-12) for each in rungs[index + 1 :])


def _left_in_float(run: Calibration, names: Sequence[str], progress: Progress) -> dict[str, list[Rung]]:
    sensitivities, images = _reactions(run, progress)
    errors, costs = run.float_choices(run.plan, images, sensitivities)
    return {
        name: [Rung(run.plan[name], errors[name], 0.0), Rung(None, 0.0, costs.get(name, 0.0))]
        for name in names
        if name in errors
    }


def _more_bits(run: Calibration, names: Sequence[str], progress: Progress) -> dict[str, list[Rung]]:
    sensitivities, images = _reactions(run, progress)
    names = [name for name in names if name in sensitivities]
    lowest = min((_least_bits(run.plan[name]) for name in names), default=MAX_BITS)
    highest = lowest
    while highest < MAX_BITS and run.recipe.has_points(highest + 1):
        highest += 1
    progress("Predicting errors", 0, 0)
    names = [name for name in names if _least_bits(run.plan[name]) < highest]
    found = choices(run.model, names, images, sensitivities, run.recipe, range(lowest, highest + 1))
    rungs: dict[str, list[Rung]] = {}
    for name in names:
        layer, own = run.model.net.get_submodule(name), run.plan[name]
        rungs[name] = []
        for least in range(_least_bits(own), highest + 1):
            bits = LayerBits(max(own.w_bits, least), own.a_bits and max(own.a_bits, least), own.outside)
            error = found[name].weights.errors[bits.w_bits]
            error += found[name].inputs.errors[bits.a_bits] if bits.a_bits else 0.0
            rungs[name].append(Rung(bits, error, _stored(layer, bits, run.recipe)))
    return rungs


def _reactions(run: Calibration, progress: Progress) -> tuple[Mapping[str, Sensitivity], Sequence[Tensor]]:
    """Sensitivities of the layers, and the images to predict errors from."""
    images = [image for batch in run.images for image in torch.split(batch, 1)][:IMAGES]
    measured = run.sensitivities or measure(run.model, list(run.plan), images, run.recipe.seed, progress)
    return measured, images


def _least_bits(bits: LayerBits) -> int:
    return bits.w_bits if bits.a_bits is None else min(bits.w_bits, bits.a_bits)


def _stored(layer: Layer, bits: LayerBits, recipe: Planned) -> float:
    """Bits that an artifact takes for a layer: codes of its weights, and points of its input where it stores them."""
    points = layer.weight.shape[1] * getattr(layer, "groups", 1) if recipe.granularity == "channel" else 1
    total = layer.weight.numel() * bits.w_bits
    if bits.a_bits is not None:
        total += points * stored_bits(bits.a_bits, recipe.universal_set, recipe.evenly(bits.a_bits))
    return float(total)
