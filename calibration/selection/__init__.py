"""Selection of quantization points from histograms: one file per method, looked up by name."""

from __future__ import annotations

from torch import Tensor

from calibration.recipes.values import SELECTORS
from calibration.selection import even, exact, exhaustive, kmeans, uniform
from calibration.selection.histogram import selection_error
from dfsq.errors import UsageError
from dfsq.quantizers.universal import UniversalSet

__all__ = ["BASELINES", "select", "selection_error"]

BASELINES = {"minmax": uniform.minmax, "percentile": uniform.percentile, "mse": uniform.mse, "log2": uniform.log2}


def select(selector: str, histogram: Tensor, universal: UniversalSet, bits: int, *, restarts: int, seed: int) -> Tensor:
    """Select 2^``bits`` points per channel with the named method, or ``even``: ascending numerators, int64 ``(C, k)``.

    ``histogram`` is int64 ``(C, bins)``. ``restarts`` and ``seed`` matter for ``kmeans`` alone. Raises
    :class:`UsageError` for an unknown selector or a universal set with fewer elements than points.
    """
    k = 2**bits
    if selector == "even":
        return even.select(histogram, universal, k)
    if k > len(universal):
        raise UsageError(
            f"{bits} bits need {k} points, but a universal set of {universal.words} words has {len(universal)}; "
            "use more `words` or fewer `bits`"
        )
    if selector == "exact":
        return exact.select(histogram, universal, k)
    if selector == "kmeans":
        return kmeans.select(histogram, universal, k, restarts=restarts, seed=seed)
    if selector == "exhaustive":
        return exhaustive.select(histogram, universal, k)
    if selector in BASELINES:
        return BASELINES[selector](histogram, universal, k)
    raise UsageError(f"unknown selector {selector!r}; known: {', '.join(SELECTORS)}")
