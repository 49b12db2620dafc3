"""What rounding does inside a network, seen on one image: a look, no measure of what a layer costs the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dfsq.evaluation.histogram import histogram
from dfsq.images.picture import Pixels
from dfsq.model import SRModel
from dfsq.nn import QuantizedLayer, channel_axis, quantized_layers
from dfsq.report.signals import Inputs, Signals

SIDE = 64
"""Height and width of the middle of an image that is looked at."""
_BINS = 48
_TINY = 1e-300
"""Instead of the variance of a channel that does not vary."""
_SHOWN = 4
"""Layers whose inputs are shown."""


@torch.inference_mode()
def signals(first: SRModel, second: SRModel, pixels: Pixels, image: str) -> Signals | None:
    """How much noise the outputs of the layers of ``second`` hold against ``first``, of which it was made, and what the
    layers are given whose inputs are rounded most coarsely.

    ``pixels``: LR, uint8 RGB ``(h, w, 3)``, called ``image``; its middle is looked at. Factors and shifts of channels
    that a method has folded into layers make no difference. None where the two do not belong together, or nothing is
    quantized.
    """
    layers = dict(quantized_layers(second.net))
    modules = dict(first.net.named_modules())
    if not layers or not layers.keys() <= modules.keys():
        return None
    middle = _middle(pixels)
    outputs: dict[str, list[Tensor]] = {name: [] for name in layers}
    _watched(first, middle, ((modules[name], partial(_keep, outputs[name])) for name in layers))
    seen = {name: _Seen(layer, outputs[name]) for name, layer in layers.items()}
    _watched(second, middle, ((layers[name], each.see) for name, each in seen.items()))
    reached = {name: each for name, each in seen.items() if each.belongs}
    if not reached:
        return None
    coarse = sorted(reached, key=lambda each: reached[each].coarseness, reverse=True)[:_SHOWN]
    inputs = {each: found for each in coarse if (found := reached[each].inputs()) is not None}
    return Signals(image, {name: each.noise for name, each in reached.items()}, inputs)


class _Seen:
    """What came by one quantized layer."""

    def __init__(self, layer: QuantizedLayer, exact: list[Tensor]) -> None:
        """``exact``: its outputs in full precision, call by call."""
        self._quantizer = layer.input_quantizer
        self._exact = exact
        self._axis = channel_axis(layer)
        self._given: list[Tensor] = []
        self._errors: list[Tensor] = []
        self._sums: list[Tensor] = []
        self._count = 0
        self._rounding = np.zeros(2)
        self._fits = True

    def see(self, _layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        """One call."""
        if not self._exact or self._exact[0].shape != output.shape:
            self._fits = False
            return
        x, y = (self._by_channel(each).double() for each in (self._exact.pop(0), output))
        self._sums.append(torch.stack([x.sum(0), y.sum(0), (x * x).sum(0), (x * y).sum(0), (y * y).sum(0)]))
        self._count += len(x)
        if self._quantizer is not None:
            exact = self._quantizer.rescaled(inputs[0]).double()
            error = self._by_channel(self._quantizer(inputs[0]) - exact).square().sum(0).cpu()
            self._rounding += float(error.sum()), float(exact.square().sum())
            self._errors.append(error)
            self._given.append(self._by_channel(self._quantizer.normalized(inputs[0]).float()).cpu())

    @property
    def belongs(self) -> bool:
        """Whether the image reached the layer, with outputs of the shape that they have in full precision."""
        return self._fits and self._count > 0

    def _by_channel(self, x: Tensor) -> Tensor:
        """A row per position."""
        return x.movedim(self._axis, -1).flatten(0, -2)

    @property
    def noise(self) -> float:
        """Share of the variance of the outputs that those in full precision do not explain: 1 − squared correlation,
        channel by channel."""
        x, y, xx, xy, yy = torch.stack(self._sums).sum(0).cpu() / self._count
        exact, both, rounded = xx - x * x, xy - x * y, yy - y * y
        unexplained = (1 - both.square() / (exact * rounded).clamp_min(_TINY)).clamp(0, 1)
        return float((unexplained * exact).sum() / exact.sum().clamp_min(_TINY))

    @property
    def coarseness(self) -> float:
        """Power of what rounding adds to the inputs over theirs; 0 where they stay in full precision."""
        return float(self._rounding[0] / (self._rounding[1] or 1.0))

    def inputs(self) -> Inputs | None:
        """Of the channel that is rounded most coarsely, in the units of its levels; of all where all have the same.

        None where the inputs stay in full precision.
        """
        if self._quantizer is None or not self._given:
            return None
        values, channel = torch.cat(self._given), None
        if len(self._quantizer.levels()) > 1:
            channel = int(torch.stack(self._errors).sum(0).argmax())
            values = values[:, channel]
        return Inputs(histogram(self._quantizer, values, _BINS, channel), self._quantizer.bits, channel)


def _keep(found: list[Tensor], _layer: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
    found.append(output.clone())  # others may change it afterwards


def _watched(model: SRModel, image: Tensor, hooks: Iterable[tuple[nn.Module, Callable[..., None]]]) -> None:
    """Run ``model`` with ``hooks`` on what its modules return."""
    with ExitStack() as stack:
        for module, hook in hooks:
            stack.callback(module.register_forward_hook(hook).remove)
        device = next(model.parameters()).device
        model(image.to(device))


def _middle(pixels: Pixels) -> Tensor:
    height, width = pixels.shape[:2]
    top, left = max(0, (height - SIDE) // 2), max(0, (width - SIDE) // 2)
    cut = pixels[top : top + SIDE, left : left + SIDE]
    return torch.from_numpy(cut.astype(np.float32)).permute(2, 0, 1)[None] / np.iinfo(pixels.dtype).max
