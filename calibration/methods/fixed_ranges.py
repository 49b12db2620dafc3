"""A baseline: every layer's input in one range of the whole tensor, which is fixed before the network runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from calibration.methods.by_tensor import FLOAT_SHARE, ByTensor
from calibration.recipes.choice import choice
from calibration.recipes.recipe import register
from calibration.recipes.values import RANGES, SELECTORS, WEIGHTS
from dfsq import limits
from dfsq.quantizers.universal import UniversalSet

if TYPE_CHECKING:
    from torch import nn

    from calibration.layers import Observer
    from calibration.observer import TensorObserver
    from calibration.ranges import ChannelRanges
    from calibration.sensitivity import Sensitivity
    from dfsq.nn import InputQuantizer

_POINTS = tuple(name for name in SELECTORS if name not in RANGES)
"""Selectors that take points within the range instead of a grid with an exact zero."""


@register
@dataclass(frozen=True, kw_only=True)
class FixedRanges(ByTensor):
    """Integer grids from minimum to maximum or less, or points within that."""

    method: ClassVar[str] = "fixed-ranges"

    weights: str = choice("minmax", "minmax, mse, subset or symmetric", known=WEIGHTS)
    selector: str = choice(
        "minmax", "a grid: minmax, percentile, mse; or points: exact, kmeans, exhaustive, log2", known=SELECTORS
    )
    restarts: int = choice(5, "of kmeans", limits=limits.RESTARTS, only={"selector": ("kmeans",)})
    words: int = choice(
        4, "of the universal set", limits=limits.WORDS, only={"selector": _POINTS, "weights": ("subset",)}
    )
    float_share: float = choice(0.0, FLOAT_SHARE, limits=limits.SHARE, only={"selector": RANGES})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.choices()["words"].applies(vars(self)):
            self.check_points()

    @property
    def universal_set(self) -> UniversalSet:
        """The set that quantization points are selected from."""
        return UniversalSet(self.words)

    def phrase(self) -> str:
        """What the method does, in a few words."""
        return f"fixed ranges, {self.selector} selection, {self.weights} weights" + ", compensation" * self.compensation

    def observer(self, layer: nn.Module, extremes: ChannelRanges | None = None) -> TensorObserver:
        """Counts over the whole tensor."""
        from calibration.observer import TensorObserver

        del layer, extremes
        return TensorObserver(self.universal_set)

    def input_quantizer(
        self, layer: nn.Module, observer: Observer, bits: int, sensitivity: Sensitivity | None
    ) -> InputQuantizer:
        """The grid, or the points, for the range that ``observer`` has seen."""
        from calibration import ranges
        from calibration.observer import TensorObserver
        from calibration.selection import select
        from dfsq.nn import SubsetQuantizer, channel_axis

        del sensitivity
        assert isinstance(observer, TensorObserver)
        axis, universal = channel_axis(layer), self.universal_set
        if self.selector in RANGES:
            return ranges.fixed_range(self.selector, observer, bits, axis)
        points = select(self.selector, observer.histogram(), universal, bits, restarts=self.restarts, seed=self.seed)
        return SubsetQuantizer(points, True, bits, universal, axis, fixed=observer.fixed())
