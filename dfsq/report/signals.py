"""What happens inside a quantized network, as a report shows it. Plain data without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Inputs:
    """What a layer is given, in the units of its levels."""

    edges: tuple[float, ...]
    """Of bins of equal width, one more than these."""
    counts: tuple[float, ...]
    """Of values, by bin."""
    levels: tuple[float, ...]
    """Ascending."""
    bits: int
    """Of the layer's activations."""
    channel: int | None
    """Whose inputs and levels these are; None: those of all channels, which share their levels."""


@dataclass(frozen=True)
class Signals:
    """What was seen on one image."""

    image: str
    noise: Mapping[str, float]
    """Share of the variance of each layer's output that is noise, 0–1, with the noise that reaches the layer."""
    inputs: Mapping[str, Inputs]
    """Of the layers whose inputs are rounded most coarsely."""
