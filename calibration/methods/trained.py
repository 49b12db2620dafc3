"""The sequential method, then training: points, latent weights and biases, against the full-precision network's output.

Needs no labels. What it starts from is the recipe ``accurate``: error feedback stays in the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from calibration.methods.by_training import ByTraining, Cropping, Score
from calibration.methods.planned import SCOPE, SCOPES
from calibration.progress import Progress
from calibration.recipes.choice import choice
from calibration.recipes.recipe import register
from calibration.recipes.values import HEADROOM
from dfsq import limits
from dfsq.errors import UsageError
from dfsq.plurals import counted

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from calibration.methods.trained_network import Start, TrainedNetwork
    from dfsq.model import SRModel

_AUTO, _SAMPLE, _FIXED = _RANGES = ("auto", "sample", "fixed")
_OBJECTIVES = ("output", "target")
_OPEN_UP_TO = 2
"""Bits of activations at which fixed ranges suit some networks better: docs/accuracy.md."""
_LARGE, _SMALL = 96, 48
"""Crops, and those at few bits: the more there are of them, the steadier a step."""


@register
@dataclass(frozen=True, kw_only=True)
class Trained(ByTraining):
    """Points, weights and biases that bring the output closest to that in full precision: mean absolute difference, and
    in the last steps every crop's root mean square too, which is what PSNR goes by.

    Rates are those of Adam, in units of what they change: root mean square of a layer's weights, standard deviation of
    a channel's inputs or outputs. They rise over ``warm_up`` steps and fall along a cosine.
    """

    method: ClassVar[str] = "trained"

    batch: int | None = choice(
        None,
        "crops in a step, of all processes together, one for each at least; null: with the pixels of one of 96×96",
        limits=limits.BATCH,
    )
    crop_size: int | None = choice(
        None,
        "height and width of a crop, LR pixels; less where half of the images are smaller; null: 48 at 2 bits, else 96",
        limits=limits.PATCH_SIZE,
    )
    candidates: int = choice(
        4, "drawn for each crop, of which the one with the strongest edges is taken", limits=limits.CANDIDATES
    )
    ranges: str = choice(
        _AUTO,
        "of activations: of every sample's channels, or fixed per channel; auto: at 2 bits either, else of samples",
        known=_RANGES,
    )
    columns: bool = choice(
        True, "weights below 8 bits in units of their columns too: one for every input channel and kernel position"
    )
    feedback: bool = choice(True, "round channels one after the other, errors passed on")
    headroom: float | None = choice(
        HEADROOM,
        "saturate beyond this multiple of the spread seen, unless ranges become fixed; null: never",
        limits=limits.HEADROOM,
        only={"ranges": (_AUTO, _SAMPLE)},
    )
    block: int | None = choice(
        8,
        "normalize squares of so many pixels a side, unless ranges become fixed; null: whole maps",
        limits=limits.BLOCK,
        only={"ranges": (_AUTO, _SAMPLE)},
    )
    objective: str = choice(
        "output", "output: that in full precision; target: in the end, HR images", known=_OBJECTIVES
    )
    target_share: float = choice(
        0.1,
        "of the steps, the last ones, one at least, against HR",
        limits=limits.SHARE,
        only={"objective": ("target",)},
    )
    squared_share: float = choice(
        0.5, "of the steps, the last ones, with every crop's root mean square in the loss too", limits=limits.SHARE
    )
    outside_bits: int | None = choice(
        8, "weights outside the body scope; null: full precision, or as inside with scope all", limits=limits.BITS
    )
    scope: str = choice("attention", SCOPE, known=SCOPES)
    weight_rate: float = choice(0.016, "of weights, at 2 bits; half of it for every bit more", limits=limits.RATE)
    level_rate: float = choice(0.001, "of the points that weights are rounded to, likewise", limits=limits.RATE)
    point_rate: float = choice(0.002, "of the points of inputs, likewise", limits=limits.RATE)
    bias_rate: float = choice(0.0005, "of biases, likewise", limits=limits.RATE)
    warm_up: int = choice(20, "steps until rates have risen", limits=limits.STEPS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.needs_hr and not self.target_share:
            raise UsageError(
                "`target_share` is 0, and then HR images are no objective; choose more, or `objective` output"
            )

    @property
    def gains_by_patches(self) -> bool:
        """They are, for what it starts from."""
        return True

    @property
    def needs_hr(self) -> bool:
        """Whether HR images are the objective of any steps."""
        return self.objective == "target"

    @property
    def possible_ranges(self) -> Sequence[str]:
        """Those to choose from: ``sample``, ``fixed``, or both."""
        if self.ranges != _AUTO:
            return (self.ranges,)
        return (_SAMPLE, _FIXED) if self.a_bits <= _OPEN_UP_TO else (_SAMPLE,)

    def crops_for(self, model: SRModel) -> Cropping:
        """What a step takes."""
        del model
        size = self.crop_size or (_SMALL if self.a_bits <= _OPEN_UP_TO else _LARGE)
        return Cropping(self.batch or max(1, (_LARGE // size) ** 2), size, self.candidates)

    def phrase(self) -> str:
        """What the method does, in a few words."""
        towards = ", the last ones towards HR images" * self.needs_hr
        return f"points and weights trained for {counted(self.steps, 'step')}" + towards

    def start(self, model: SRModel, patches: Sequence[Tensor], score: Score, progress: Progress) -> Start:
        """The model by the sequential method, and the units in which it is trained."""
        from calibration.methods.trained_network import start

        return start(self, model, patches, score, progress)

    def settled(self, start: Start) -> Self:
        """With the ranges that it starts from."""
        return self.of({"ranges": start.ranges}, vars(self))

    def trainable(
        self, model: SRModel, start: Start, patches: Sequence[Tensor], precision: torch.dtype
    ) -> TrainedNetwork:
        """The network on trained points."""
        from calibration.methods.trained_network import TrainedNetwork

        del patches
        return TrainedNetwork(model, start, self, precision)
