"""What quantized layers are given on images, and how precisely they take it."""

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
from dfsq.model import SRModel
from dfsq.nn import QuantizedLayer


class Signal:
    """What one layer or place is given in full precision, and how precisely its quantized counterpart takes it."""

    def __init__(self, part: Part) -> None:
        self._quantizer = quantizer_of(part)
        self._power, self._noise = 0.0, 0.0
        self._ranges: list[tuple[float, float]] = []

    def see(self, x: Tensor) -> None:
        """``x``: what the layer in full precision is given for one image; several times where it is called so often."""
        self._ranges.append((float(x.amin()), float(x.amax())))
        if self._quantizer is not None:
            exact = self._quantizer.rescaled(x).double()
            self._power += float(exact.square().sum())
            self._noise += float((self._quantizer(x) - exact).square().sum())

    @property
    def reached(self) -> bool:
        """Whether any image came by."""
        return bool(self._ranges)

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


@torch.inference_mode()
def observe(full: SRModel, parts: Mapping[str, Part], images: Sequence[Tensor]) -> dict[str, Signal]:
    """Signals of ``parts``, in whose place the layers of ``full`` run, on LR ``images`` ``(1, 3, h, w)`` in 0–1."""
    signals: dict[str, Signal] = {}
    handles = []
    for name, part in parts.items():
        layer = full.net.get_submodule(name)
        signals[name] = Signal(part)
        handles.append(layer.register_forward_pre_hook(partial(_see, signals[name])))
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


def _see(signal: Signal, _layer: nn.Module, inputs: tuple[Any, ...]) -> None:
    signal.see(inputs[0])
