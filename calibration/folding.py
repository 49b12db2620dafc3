"""Equalization of channels that costs nothing at run time: their factors go into the layers on either side.

Dividing a channel by f where it is made, in the rows of one layer, and multiplying by f where it is read, in the
columns of the next, leaves the network's output as it is (Nagel et al., ICCV 2019, §4.1). Here all layers that share
channels, over additions and concatenations too, share their factors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from calibration.channels import FIXED, trace
from calibration.extremes import observe
from calibration.layers import LayerBits
from calibration.sensitivity import Sensitivity
from dfsq.model import SRModel
from dfsq.networks.scope import quantizable_layers, shifts_colours

_STEPS = 400
_RATE = 0.02
_SMALLEST = 1 / 64
"""Least factor: beyond that a channel's weights would drown in those of the others."""


@dataclass(frozen=True)
class _Place:
    """A map that is rounded: the numbers of its channels, their limits, and how much errors in them matter."""

    numbers: Tensor
    low: Tensor
    high: Tensor
    weights: Tensor


def fold(
    model: SRModel,
    plan: Mapping[str, LayerBits],
    batches: Sequence[Tensor],
    sensitivities: Mapping[str, Sensitivity],
) -> dict[str, Sensitivity]:
    """Equalize the channels of ``model``'s maps for grids that these share, in place; its output stays the same.

    Returns the sensitivities in the new units. ``batches`` are LR images ``(N, 3, H, W)`` in 0–1.
    """
    convolutions = {
        name: layer
        for name, layer in quantizable_layers(model.net).items()
        if isinstance(layer, nn.Conv2d) and not shifts_colours(layer)
    }
    channels = trace(model, convolutions, batches[0][:1])
    limits = observe(model, {name: plan[name] for name in channels if name in plan}, batches)
    places = []
    for (name, side), ranges in limits.items():
        sensitivity = sensitivities.get(name)
        if ranges.samples and sensitivity is not None:
            numbers = getattr(channels[name], side)
            weights = getattr(sensitivity, side).diagonal().clamp(min=0)
            places.append(_Place(numbers, *ranges.limits(), weights))
    count = 1 + max([int(each.max()) for c in channels.values() for each in (c.inputs, c.outputs)], default=0)
    factors = _choose(places, count)
    changed = dict(sensitivities)
    with torch.no_grad():
        for name, each in channels.items():
            inputs, outputs = factors[each.inputs], factors[each.outputs]
            scale(convolutions[name], inputs, outputs)
            if name in changed:
                old = changed[name]
                changed[name] = Sensitivity(old.inputs * inputs.outer(inputs), old.outputs * outputs.outer(outputs))
    return changed


def scale(layer: nn.Conv2d, inputs: Tensor, outputs: Tensor) -> None:
    """Take inputs divided by ``inputs``, ``(C_in,)``, and give outputs divided by ``outputs``, ``(C_out,)``."""
    weight = layer.weight.double().cpu()
    columns = inputs.view(layer.groups, -1).repeat_interleave(len(weight) // layer.groups, 0)
    scaled = weight * columns[:, :, None, None] / outputs[:, None, None, None]
    layer.weight.copy_(scaled)
    if layer.bias is not None:
        layer.bias.copy_(layer.bias.double().cpu() / outputs)


@torch.enable_grad()
@torch.inference_mode(False)
def _choose(places: Sequence[_Place], count: int) -> Tensor:
    """A factor per number, float64 ``(count,)``, 1 for FIXED, with which rounding costs the output least.

    A map from l to h takes steps of (max h / f − min l / f) / (2^b − 1), and the error of channel c is f times that.
    """
    free = torch.ones(count, dtype=torch.float64)
    free[FIXED] = 0
    least = torch.zeros(count, dtype=torch.float64)
    for place in places:  # to begin with, steps of every map as they are
        above = place.high / place.high.max().clamp(min=1e-30)
        below = place.low / place.low.min().clamp(max=-1e-30)
        shares = torch.maximum(above, below).clamp(_SMALLEST, 1)
        for number, share in zip(place.numbers.tolist(), shares.tolist(), strict=True):
            least[number] = max(least[number], share)
    logs = torch.where(least > 0, least, 1.0).log().mul(free).requires_grad_()
    optimizer = torch.optim.Adam([logs], lr=_RATE)
    best, lowest = torch.ones(count, dtype=torch.float64), float("inf")
    for _ in range(_STEPS if places else 0):
        factors = (logs * free).exp()
        cost = torch.stack([_cost(place, factors[place.numbers]) for place in places]).sum()
        if cost.item() < lowest:
            best, lowest = factors.detach().clone(), cost.item()
        optimizer.zero_grad()
        cost.log().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return best


def _cost(place: _Place, factors: Tensor) -> Tensor:
    step = (place.high / factors).amax() - (place.low / factors).amin()
    return step.square() * (place.weights * factors.square()).sum()
