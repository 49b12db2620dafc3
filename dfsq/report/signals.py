"""What happens inside a quantized network, as a report shows it. Plain data without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Histogram:
    """What a layer is given, and the levels that it is rounded to, by bins of equal width."""

    edges: tuple[float, ...]
    """Of the bins, one more than these, ascending."""
    counts: tuple[int, ...]
    """Of values, by bin."""
    levels: tuple[float, ...]
    """How many there are in each bin, mean over the channels."""
    points: tuple[float, ...]
    """All levels that any channel has, ascending."""
    units: str
    """Of edges and points, in words."""


@dataclass(frozen=True)
class Inputs:
    """What a layer is given, with what it is of."""

    histogram: Histogram
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
