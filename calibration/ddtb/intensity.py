"""Which quantizers get a gate: those whose extremes differ most from image to image (DDTB, dynamic intensity)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import floor

import torch
from torch import Tensor

from calibration.watching import watch
from dfsq.model import SRModel


class Extremes:
    """Collects the largest and the least value of every sample."""

    def __init__(self) -> None:
        self._maxima: list[Tensor] = []
        self._minima: list[Tensor] = []

    def observe(self, x: Tensor) -> None:
        """Note those of a batch, samples on axis 0."""
        self._maxima.append(x.flatten(1).amax(1).double().cpu())
        self._minima.append(x.flatten(1).amin(1).double().cpu())

    def intensity(self) -> float:
        """Variance of the maxima plus that of the minima, of the samples seen and not of a larger population.

        Raises RuntimeError before any sample was seen.
        """
        if not self._maxima:
            raise RuntimeError("no sample was seen whose extremes could vary")
        return float(sum(torch.cat(each).var(correction=0) for each in (self._maxima, self._minima)))


def intensities(model: SRModel, names: Iterable[str], images: Iterable[Tensor]) -> dict[str, float]:
    """Intensity of what each of the layers or places called ``names`` is given, by name, in their order.

    ``model`` is the full-precision network, ``images`` are batches of LR images ``(N, 3, H, W)`` in 0–1.
    """
    seen = {name: Extremes() for name in names}
    watch(model, images, {name: each.observe for name, each in seen.items()})
    return {name: each.intensity() for name, each in seen.items()}


def dynamic(found: Mapping[str, float], ratio: float) -> tuple[str, ...]:
    """The names of the share ``ratio`` (0…1, rounded down) of ``found`` that has the highest intensity.

    The highest comes first; of equals that which is first in ``found``.
    """
    number = floor(round(ratio * len(found), 6))  # 0.29 · 100 is 28.999999999999996
    return tuple(sorted(found, key=lambda name: -found[name])[:number])
