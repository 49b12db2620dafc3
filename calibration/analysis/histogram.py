"""Where the inputs of a layer lie, and where its levels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from calibration.analysis.parts import Part, quantizer_of
from dfsq.errors import UsageError
from dfsq.model import SRModel
from dfsq.nn import SubsetQuantizer

BINS = 32


@dataclass(frozen=True)
class Histogram:
    """Inputs and levels by bins of equal width."""

    edges: tuple[float, ...]
    """Of the bins, one more than these, ascending."""
    counts: tuple[float, ...]
    """Of values, by bin."""
    levels: tuple[float, ...]
    """How many there are in each bin, of a channel on average."""
    points: tuple[float, ...]
    """All levels that any channel has, ascending."""
    units: str


@torch.inference_mode()
def histogram(full: SRModel, part: Part, name: str, images: Sequence[Tensor], bins: int = BINS) -> Histogram:
    """Of what the layer or place ``name`` is given in ``full``, and the levels of ``part``, its quantized counterpart.

    ``images``: LR, ``(1, 3, h, w)`` in 0–1. Raises :class:`UsageError` where the input stays in full precision, and
    where no image reaches it.
    """
    quantizer = quantizer_of(part)
    if quantizer is None:
        raise UsageError(f"the input of {name} stays in full precision: it has no levels")
    seen: list[Tensor] = []

    def keep(_layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(quantizer.normalized(inputs[0]).float().flatten().cpu())

    handle = full.net.get_submodule(name).register_forward_pre_hook(keep)
    try:
        for image in images:
            full(image)
    finally:
        handle.remove()
    if not seen:
        raise UsageError(f"no image reaches {name}")
    values, levels = torch.cat(seen), quantizer.levels().cpu()
    low, high = float(min(values.min(), levels.min())), float(max(values.max(), levels.max()))
    counts, level_counts = (_counts(each, bins, low, high) for each in (values, levels))
    by_channel = isinstance(quantizer, SubsetQuantizer) and quantizer.fixed is None
    return Histogram(
        tuple(torch.linspace(low, high, bins + 1).tolist()),
        tuple(counts.tolist()),
        tuple((level_counts / len(levels)).tolist()),
        tuple(sorted(set(levels.flatten().tolist()))),
        "of each channel's spread" if by_channel else "of the input",
    )


def _counts(values: Tensor, bins: int, low: float, high: float) -> Tensor:
    width = (high - low) / bins or 1.0
    index = ((values.double() - low) / width).floor().clamp(0, bins - 1).long()
    return torch.bincount(index.flatten(), minlength=bins).double()
