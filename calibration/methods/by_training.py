"""Methods that train: what they have in common, from images set aside to the best model on them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from calibration.progress import Progress
from calibration.recipes.choice import choice
from calibration.recipes.recipe import Recipe
from calibration.recipes.values import PRECISIONS
from calibration.training.sitting import Sitting
from dfsq import limits

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from calibration.images import PatchStream
    from calibration.training import loop
    from dfsq.model import SRModel

Score = Callable[["SRModel"], float]
"""What a model loses on the images set aside, dB."""


class Cropping(NamedTuple):
    """The crops that a step takes."""

    batch: int
    """How many, of all processes together."""
    size: int
    """Height and width, LR pixels."""
    candidates: int = 1
    """How many are drawn for each, of which the one with the strongest edges is taken."""


@dataclass(frozen=True, kw_only=True)
class ByTraining(Recipe):
    """A run of steps on fresh crops; what a step is, each method says."""

    steps: int = choice(2000, "of training", limits=limits.STEPS)
    precision: str = choice("auto", "of products: f32, bf16, or auto: bf16 where that is fast", known=PRECISIONS)

    @property
    def trains(self) -> bool:
        """That it does."""
        return True

    @property
    def needs_hr(self) -> bool:
        """Whether the loss has HR images in it."""
        return False

    @abstractmethod
    def start(self, model: SRModel, patches: Sequence[Tensor], score: Score, progress: Progress) -> Any:
        """What is found once, before the first step, from LR ``patches`` ``(N, 3, h, w)`` in 0–1."""

    def settled(self, start: Any) -> Self:
        """The recipe with what it left open until :meth:`start` had found it."""
        del start
        return self

    @abstractmethod
    def trainable(
        self, model: SRModel, start: Any, patches: Sequence[Tensor], precision: torch.dtype
    ) -> loop.Trainable:
        """What is trained, from what :meth:`start` has found."""

    @abstractmethod
    def crops_for(self, model: SRModel) -> Cropping:
        """What a step takes."""

    def with_steps(self, steps: int) -> Self:
        """The same recipe for another number of steps."""
        return replace(self, steps=steps)

    def quantize(self, model: SRModel, images: PatchStream | Iterable[Tensor], progress: Progress) -> SRModel:
        """Train in one go."""
        return self.train(model, images, Sitting(), progress)

    def train(
        self, model: SRModel, images: PatchStream | Iterable[Tensor], sitting: Sitting, progress: Progress
    ) -> SRModel:
        """Train as ``sitting`` says, and return the model that was best on images set aside from ``images``.

        Raises :class:`UsageError` for images that are no :class:`PatchStream`, LR images where the loss needs HR, and
        what the state of an earlier run raises.
        """
        from calibration.methods.training_run import train

        return train(self, model, images, sitting, progress)
