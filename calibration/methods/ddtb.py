"""DDTB (Zhong et al., ECCV 2022, arXiv 2203.03844): bounds, gates and the whole network trained against HR images.

As it is meant, not as its published code computes it: bounds start from percentiles at every width, gates look at one
sample at a time and are trained whole. What else differs from the published schedule: docs/method.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from calibration.methods.by_training import ByTraining, Cropping, Score
from calibration.progress import Progress
from calibration.recipes.choice import choice
from calibration.recipes.recipe import register
from dfsq import limits
from dfsq.errors import UsageError
from dfsq.plurals import counted

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from calibration.ddtb.run import TrainedBounds
    from dfsq.model import SRModel

_RDN_CROP = {2: 32}
"""By scale; 24 for others."""
_STEPS, _WARM_UP, _HALVE_EVERY = 60_000, 4000, 10_000
"""As published."""


@register
@dataclass(frozen=True, kw_only=True)
class DDTB(ByTraining):
    """Trained by Adam, rates halved at intervals; numbers are the published ones, in proportion to ``steps``.

    ``warm_up`` and ``halve_every`` that are given stay as they are; :meth:`with_steps` changes them in proportion too.
    """

    method: ClassVar[str] = "ddtb"

    steps: int = choice(_STEPS, "of training", limits=limits.STEPS)
    batch: int = choice(16, "crops in a step, of all processes together", limits=limits.BATCH)
    crop_size: int | None = choice(
        None, "height and width of a crop, LR pixels; null: as published", limits=limits.PATCH_SIZE
    )
    warm_up: int | None = choice(
        None,
        "steps in which gates learn to do nothing, not applied; null: 4000 of 60 000, in proportion",
        limits=limits.STEPS,
    )
    halve_every: int | None = choice(
        None,
        "steps after which rates are halved, again and again; null: 10 000 of 60 000, in proportion",
        limits=limits.STEPS,
    )
    rate: float = choice(0.0001, "of all but bounds", limits=limits.RATE)
    bound_rate: float = choice(0.01, "of bounds, for a network in 0–255; others in proportion", limits=limits.RATE)
    ratio: float | None = choice(None, "share of quantizers with a gate; null: as published", limits=limits.SHARE)
    percent: float | None = choice(
        None, "percentile of activations where bounds start; null: as published", limits=limits.PERCENT
    )
    weight_percent: float | None = choice(
        None, "percentile where weights are clipped, 100: nowhere; null: as published", limits=limits.PERCENT
    )
    attention: float = choice(1000.0, "weight of this loss, beside 1 for grey levels", limits=limits.LOSS_WEIGHT)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warm_up is not None and self.warm_up >= self.steps:
            raise UsageError(
                f"`warm_up` is {self.warm_up}, and gates are applied after it: it must be below `steps`, {self.steps}; "
                "leave it out"
            )

    @property
    def gates_from(self) -> int:
        """The first step in which gates are applied."""
        return round(self.steps * _WARM_UP / _STEPS) if self.warm_up is None else self.warm_up

    @property
    def interval(self) -> int:
        """Steps after which rates are halved."""
        return self.halve_every or max(1, round(self.steps * _HALVE_EVERY / _STEPS))

    @property
    def needs_hr(self) -> bool:
        """That it does."""
        return True

    def phrase(self) -> str:
        """What the method does, in a few words."""
        return f"DDTB, trained for {counted(self.steps, 'step')}"

    def crops_for(self, model: SRModel) -> Cropping:
        """What a step takes."""
        published = _RDN_CROP.get(model.scale, 24) if model.info.architecture == "rdn" else 48
        return Cropping(self.batch, self.crop_size or published)

    def with_steps(self, steps: int) -> Self:
        """The same schedule in ``steps``."""
        share = steps / self.steps
        warm_up = self.warm_up and (min(round(self.warm_up * share), steps - 1) or None)
        halve_every = self.halve_every and max(1, round(self.halve_every * share))
        return replace(self, steps=steps, warm_up=warm_up, halve_every=halve_every)

    def start(self, model: SRModel, patches: Sequence[Tensor], score: Score, progress: Progress) -> Mapping[str, float]:
        """Intensity of all that is quantized, by name. Raises :class:`UsageError` where that is nothing."""
        del score
        from calibration.ddtb.run import start

        return start(self, model, patches, progress)

    def trainable(
        self, model: SRModel, start: Mapping[str, float], patches: Sequence[Tensor], precision: torch.dtype
    ) -> TrainedBounds:
        """The network between trained bounds. Raises :class:`UsageError` for a batch too small for gates."""
        from calibration.ddtb.run import TrainedBounds, student

        return TrainedBounds(model, student(self, model, start, patches, precision), patches, self)
