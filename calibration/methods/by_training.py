"""Methods that train: what they have in common, from images set aside to the best model on them."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from calibration.images import PatchStream, describe
from calibration.models import copied, device_of
from calibration.progress import Progress
from calibration.recipes.choice import choice
from calibration.recipes.recipe import Recipe
from calibration.set_aside import set_aside
from calibration.training import loop
from calibration.training.crops import Crops
from calibration.training.guard import Guard
from calibration.training.precision import PRECISIONS, dtype_of
from calibration.training.sitting import Sitting
from calibration.training.state import Store
from dfsq import distributed, limits
from dfsq.errors import UsageError
from dfsq.model import Quantization, SRModel
from dfsq.version import __version__


@dataclass(frozen=True, kw_only=True)
class ByTraining(Recipe):
    """A run of steps on fresh crops; what a step is, each method says."""

    steps: int = choice(2000, "of training", limits=limits.STEPS)
    batch: int = choice(1, "crops in a step, of all processes together; one for each at least", limits=limits.BATCH)
    crop_size: int = choice(
        96, "height and width of a crop, LR pixels; less where half of the images are smaller", limits=limits.PATCH_SIZE
    )
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
    def start(self, model: SRModel, patches: Sequence[Tensor], progress: Progress) -> Any:
        """What is found once, before the first step, from LR ``patches`` ``(N, 3, h, w)`` in 0–1."""

    @abstractmethod
    def trainable(
        self, model: SRModel, start: Any, patches: Sequence[Tensor], precision: torch.dtype
    ) -> loop.Trainable:
        """What is trained, from what :meth:`start` has found."""

    def crop_for(self, model: SRModel) -> int:
        """Height and width of a crop for ``model``, LR pixels."""
        del model
        return self.crop_size

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
        if not isinstance(images, PatchStream):
            raise UsageError(f"the method {self.method} cuts crops of its own; give it a PatchStream")
        if self.needs_hr and images.is_lr:
            raise UsageError(f"{self.phrase()} needs HR images, and these are LR (`calib_is_lr`)")
        began = time.monotonic()
        copied(model)  # what cannot be is not worth the work
        rest, held_out = set_aside(
            images.sources,
            scale=images.scale,
            patch_size=images.patch * images.scale,
            seed=images.seed,
            is_lr=images.is_lr,
            on_skip=images.on_skip,
        )
        stream = images.over(rest)
        device = device_of(model)
        patches = [batch.to(device) for batch in stream]
        crops = Crops(
            rest,
            scale=images.scale,
            size=self.crop_for(model),
            batch=max(self.batch, len(distributed.gather(None))),
            seed=self.seed,
            is_lr=images.is_lr,
            progress=progress,
            on_skip=images.on_skip,
            device=device,
        )
        precision = dtype_of(self.precision, device)
        start = self.start(model, patches, progress)
        guard = Guard(model, held_out, progress)
        store = None if sitting.state is None else Store(sitting.state, self._identity(model, crops, sitting))
        if store is not None and not sitting.resume:
            store.remove()
        recipe = self
        if sitting.minutes is not None:
            earlier = None if store is None else store.load()
            recipe = self.with_steps(
                earlier.steps
                if earlier is not None
                else _steps_that_fit(self.trainable(model, start, patches, precision), crops, guard, sitting, began)
            )
        trainable = recipe.trainable(model, start, patches, precision)
        outcome = loop.train(trainable, crops, recipe.steps, guard, store, progress)
        quantized = trainable.frozen()
        quantized.quantization = Quantization(
            recipe.to_dict(),
            {
                **describe(stream),
                "set_aside": [pair.name for pair in held_out.pairs],
                "drop_before": outcome.scores[0],
                "drop": outcome.scores[outcome.best],
                "best_step": outcome.best,
            },
        )
        return quantized

    def _identity(self, model: SRModel, crops: Crops, sitting: Sitting) -> dict[str, Any]:
        """What makes a run the same: how it is told from another, part by part."""
        recipe = self.to_dict()
        if sitting.minutes is not None:
            recipe["steps"] = f"as many as fit into {sitting.minutes:g} minutes"
        source = model.info.source_sha256
        return {"recipe": recipe, "source": source, "calibration set": crops.fingerprint, "version": __version__}


def _steps_that_fit(trainable: loop.Trainable, crops: Crops, guard: Guard, sitting: Sitting, began: float) -> int:
    a_step = loop.seconds_per_step(trainable, crops)
    before = time.monotonic()
    guard.drop(trainable.frozen())
    scores = (loop.SCORES + 1) * (time.monotonic() - before)
    return sitting.steps_that_fit(a_step, time.monotonic() - began + scores)
