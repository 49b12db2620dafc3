"""What quantized layers are given on images, how precisely they take it, and what that is predicted to cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean, pstdev
from typing import Any

import torch
from torch import Tensor, nn

from calibration.analysis.parts import Part, quantizer_of
from calibration.layers import Layer
from calibration.sensitivity import Sensitivity
from dfsq.model import SRModel
from dfsq.nn import QuantizedLayer, channel_axis


class Signal:
    """What one layer or place is given in full precision, and what its quantized counterpart makes of that."""

    def __init__(self, part: Part, axis: int) -> None:
        """``part``: a quantized layer, or what quantizes a place; ``axis``: that of its channels."""
        self._part = part
        self._quantizer = quantizer_of(part)
        self._axis = axis
        self._power, self._noise = 0.0, 0.0
        self._errors: Tensor | float = 0.0
        self._rows = 0
        self._ranges: list[tuple[float, float]] = []
        self._given: Tensor | None = None

    def see_input(self, x: Tensor) -> None:
        """``x``: what the layer in full precision is given for one image; several times where it is called so often."""
        self._given = x
        self._ranges.append((float(x.amin()), float(x.amax())))
        if self._quantizer is not None:
            exact = self._quantizer.rescaled(x).double()
            self._power += float(exact.square().sum())
            self._noise += float((self._quantizer(x) - exact).square().sum())

    def see_output(self, y: Tensor) -> None:
        """``y``: what it makes of that."""
        assert self._given is not None
        error = (self._part(self._given) - y).movedim(self._axis, -1).flatten(0, -2).double()
        self._errors = self._errors + (error.T @ error).cpu()
        self._rows += len(error)

    @property
    def reached(self) -> bool:
        """Whether any image came by."""
        return bool(self._rows)

    @property
    def sqnr(self) -> float | None:
        """Power of the input over that of what rounding adds, dB; None where inputs stay in full precision."""
        return None if self._quantizer is None else decibels(self._power, self._noise)

    @property
    def range(self) -> tuple[float, float]:
        """Least and largest input."""
        return min(low for low, _ in self._ranges), max(high for _, high in self._ranges)

    @property
    def spread(self) -> float:
        """How much the width of the range differs from image to image: standard deviation over mean."""
        widths = [high - low for low, high in self._ranges]
        return pstdev(widths) / (fmean(widths) or 1.0)

    def predicted(self, sensitivity: Sensitivity) -> float:
        """Mean squared error of the network's output from that of the layer, to first order, values in 0–1.

        Errors count as if they were independent from position to position.
        """
        return float((sensitivity.outputs * (self._errors / self._rows)).sum())


@torch.inference_mode()
def observe(full: SRModel, parts: Mapping[str, Part], images: Sequence[Tensor]) -> dict[str, Signal]:
    """Signals of ``parts``, in whose place the layers of ``full`` run, on LR ``images`` ``(1, 3, h, w)`` in 0–1."""
    signals: dict[str, Signal] = {}
    handles = []
    for name, part in parts.items():
        layer = full.net.get_submodule(name)
        signal = signals[name] = Signal(part, channel_axis(layer))
        handles.append(layer.register_forward_pre_hook(partial(_before, signal)))
        handles.append(layer.register_forward_hook(partial(_after, signal)))
    try:
        for image in images:
            full(image)
    finally:
        for handle in handles:
            handle.remove()
    return signals


def weight_sqnr(layer: Layer, part: QuantizedLayer) -> float:
    """Power of the weights of ``layer`` over that of what ``part`` has added to them, dB."""
    exact = layer.weight.detach().double()
    if part.input_quantizer is not None:
        exact = part.input_quantizer.adapted(exact, getattr(layer, "groups", 1))
    noise = part.quantized_weight.dequantize().double().to(exact.device) - exact
    return decibels(float(exact.square().sum()), float(noise.square().sum()))


def decibels(power: float, noise: float) -> float:
    """Signal-to-noise ratio; infinite without noise."""
    return 10 * math.log10(power / noise) if power and noise else math.inf


def _before(signal: Signal, _layer: nn.Module, inputs: tuple[Any, ...]) -> None:
    signal.see_input(inputs[0].clone())  # others may change it afterwards


def _after(signal: Signal, _layer: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
    signal.see_output(output)
