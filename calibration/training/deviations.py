"""How much the channels of a network's maps vary: the units in which they are trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from calibration.watching import watch
from dfsq.model import SRModel
from dfsq.nn import channel_axis, quantized_layers

_LEAST = 1e-3
"""Unit of channels that hardly change, as a share of the largest."""
_TINY = 1e-6
"""Least unit of all."""


def deviations(model: SRModel, images: Sequence[Tensor]) -> dict[str, tuple[Tensor | None, Tensor | None]]:
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
        deviation: Tensor = (squares / count - (total / count).square()).clamp_min(0).sqrt().float()
        least = max(_LEAST * float(deviation.max()), _TINY)
        return deviation.clamp_min(least)
