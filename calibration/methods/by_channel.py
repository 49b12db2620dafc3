"""Activations in units of every sample's channels (DFSQ §3.1), rounded to points that are selected per channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from calibration.methods.planned import Planned
from calibration.progress import Progress
from calibration.recipes.choice import choice, shown
from calibration.recipes.recipe import METHODS, Recipe
from calibration.recipes.values import EVEN_FROM, HEADROOM, SELECTORS, UNIVERSALS, WEIGHTS
from dfsq import limits
from dfsq.errors import UsageError
from dfsq.quantizers.universal import UniversalSet

if TYPE_CHECKING:
    from torch import Tensor, nn

    from calibration.layers import Observer
    from calibration.methods.run import Calibration
    from calibration.observer import HistogramObserver
    from calibration.planning import Plan
    from calibration.ranges import ChannelRanges
    from calibration.sensitivity import Sensitivity
    from dfsq.nn import ErrorFeedback, SubsetQuantizer


_SHARE_BITS = 3
"""What a share of error feedback takes in the file."""
_WORTH = 0.25
"""Of the bits of a layer's weight: those that shares may take where errors are small."""
_NEGLIGIBLE = 8 << 10
"""Bits that no file gains by."""


def _worth_passing_on(channels: int, weights: int, bits: int) -> bool:
    """Whether errors of ``bits`` in so many channels are worth the room of shares beside ``weights``: from six bits on
    they are so small that shares which take a large part of the file are not."""
    room = _SHARE_BITS * channels * (channels - 1) / 2
    return bits < EVEN_FROM or room <= max(_NEGLIGIBLE, _WORTH * bits * weights)


@dataclass(frozen=True, kw_only=True)
class ByChannel(Planned):
    """What one pass and the sequential method have in common."""

    granularity: ClassVar[str] = "channel"

    avg_bits: float | None = choice(
        None, "bits on average, distributed over layers in body scope; null: w_bits and a_bits", limits=limits.BITS
    )
    weights: str = choice("subset", "minmax (paper), mse, subset or symmetric", known=WEIGHTS)
    columns: bool = choice(
        False,
        "weights below 8 bits in units of their columns too: one for every input channel and kernel position",
        only={"weights": ("minmax", "mse", "subset")},
    )
    feedback: bool = choice(False, "round channels one after the other, errors passed on")
    selector: str = choice(
        "exact", "exact, kmeans (paper), exhaustive; or a grid: minmax, percentile, mse, log2", known=SELECTORS
    )
    universal: str | None = choice(
        None,
        "what exact selects from: additive, or even: evenly spaced, but for the range nothing is left to select; "
        "null: even from 6 bits up",
        known=UNIVERSALS,
        only={"selector": ("exact",)},
    )
    restarts: int = choice(5, "of kmeans, per channel", limits=limits.RESTARTS, only={"selector": ("kmeans",)})
    headroom: float | None = choice(
        HEADROOM, "saturate beyond this multiple of the spread seen; null: never (paper)", limits=limits.HEADROOM
    )
    block: int | None = choice(
        None,
        "normalize squares of so many pixels a side, each by itself; null: whole maps (paper)",
        limits=limits.BLOCK,
    )
    words: int = choice(4, "of the universal set, whose steps grids have too", limits=limits.WORDS)
    outside_bits: int | None = choice(
        8, "weights outside the body scope; null: full precision, or as inside with scope all", limits=limits.BITS
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_points()

    @property
    def universal_set(self) -> UniversalSet:
        """The set that quantization points are selected from."""
        return UniversalSet(self.words)

    def evenly(self, bits: int) -> bool:
        """Whether points of so many bits are evenly spaced."""
        if self.universal is None:
            return self.selector == "exact" and bits >= EVEN_FROM
        return self.universal == "even"

    @property
    def goes_by_sensitivity(self) -> bool:
        """Whether it matters how the network's output reacts to errors in the layers."""
        return self.compensates or self.feedback or self.avg_bits is not None

    def phrase(self) -> str:
        """What the method does, in a few words."""
        inputs = "evenly spaced points" if self.evenly(self.a_bits) else f"{self.selector} selection"
        weights = "mse" if self.weights == "subset" and self.evenly(self.w_bits) else self.weights
        parts = [inputs, f"{weights} weights"] + ["compensation"] * self.compensates + ["feedback"] * self.feedback
        return ", ".join(parts + [f"blocks of {self.block}×{self.block}"] * (self.block is not None))

    def changed(self, **changes: Any) -> Recipe:
        """The recipe with ``changes``, of which ``compensation`` chooses between one pass and the sequential method."""
        compensation = changes.pop("compensation", self.compensates)
        if not isinstance(compensation, bool):
            raise UsageError(f"compensation is {shown(compensation)}; it must be bool")
        return METHODS["sequential" if compensation else "one-pass"].of(changes, vars(self))

    def observer(self, layer: nn.Module, extremes: ChannelRanges | None = None) -> HistogramObserver:
        """Counts in units of every sample's channels."""
        from calibration.observer import HistogramObserver
        from dfsq.nn import channel_axis

        del extremes  # these units are those of any sample
        return HistogramObserver(self.universal_set, channel_axis(layer), self._block_of(layer))

    def _block_of(self, layer: nn.Module) -> int | None:
        from dfsq.nn import takes_maps

        return self.block if takes_maps(layer) else None

    def input_quantizer(
        self, layer: nn.Module, observer: Observer, bits: int, sensitivity: Sensitivity | None
    ) -> SubsetQuantizer:
        """Points for what ``observer`` has seen; ``feedback`` passes errors on by ``sensitivity``."""
        from calibration.observer import HistogramObserver
        from calibration.selection import select, selection_error
        from dfsq.networks.scope import QUANTIZABLE
        from dfsq.nn import SubsetQuantizer, channel_axis

        assert isinstance(observer, HistogramObserver)
        universal, histogram = self.universal_set, observer.histogram()
        selector = "even" if self.evenly(bits) else self.selector
        points = select(selector, histogram, universal, bits, restarts=self.restarts, seed=self.seed)
        limit = self._with_headroom(observer.spread())
        errors = selection_error(histogram, points, universal) * observer.spread().double().square()
        feedback = None
        if isinstance(layer, QUANTIZABLE) and _worth_passing_on(len(errors), layer.weight.numel(), bits):
            feedback = self.passing_errors(sensitivity, errors)
        block = self._block_of(layer)
        reach = None if block is None else self._with_headroom(observer.reach())
        return SubsetQuantizer(
            points,
            observer.signed,
            bits,
            universal,
            channel_axis(layer),
            limit,
            feedback,
            block=block,
            reach=reach,
        )

    def _with_headroom(self, seen: Tensor) -> Tensor | None:
        """Where what is beyond ``seen`` saturates, as the artifact stores it; None: nowhere."""
        return None if self.headroom is None else (self.headroom * seen).bfloat16().float()

    def passing_errors(self, sensitivity: Sensitivity | None, errors: Tensor) -> ErrorFeedback | None:
        """Error feedback by ``sensitivity``, where the recipe has it and that is known; ``errors``: mean squares of
        those that rounding makes in each channel, in any unit, ``(C,)``."""
        if not self.feedback or sensitivity is None:
            return None
        from calibration.compensation import passed_on
        from dfsq.nn import ErrorFeedback

        return ErrorFeedback(*passed_on(sensitivity.inputs, errors))

    def refined(
        self,
        run: Calibration,
        plan: Plan,
        batches: Sequence[Tensor],
        sensitivities: Mapping[str, Sensitivity],
        progress: Progress,
    ) -> Plan:
        """``plan`` with bits distributed over the layers, where the recipe gives their average."""
        if self.avg_bits is None:
            return plan
        from calibration.allocation import mixed_precision

        progress("Allocating bits", 0, 0)
        return mixed_precision(run.model, plan, batches, sensitivities, self)
