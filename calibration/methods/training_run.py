"""A run of a method that trains: images set aside, crops of the others, the loop, and the best model of it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from calibration.held_out import set_aside
from calibration.images import PatchStream, describe
from calibration.models import copied, device_of
from calibration.progress import Progress
from calibration.training import loop
from calibration.training.crops import Crops
from calibration.training.guard import Guard
from calibration.training.identity import of_held_out, of_network
from calibration.training.precision import dtype_of
from calibration.training.sitting import Sitting
from calibration.training.state import Store
from dfsq import distributed
from dfsq.errors import UsageError
from dfsq.model import Quantization, SRModel
from dfsq.version import __version__

if TYPE_CHECKING:
    from calibration.methods.by_training import ByTraining


def train(
    recipe: ByTraining, model: SRModel, images: PatchStream | Iterable[Tensor], sitting: Sitting, progress: Progress
) -> SRModel:
    """What :meth:`~calibration.methods.by_training.ByTraining.train` does."""
    if not isinstance(images, PatchStream):
        raise UsageError(f"the method {recipe.method} cuts crops of its own; give it a PatchStream")
    if recipe.needs_hr and images.is_lr:
        raise UsageError(f"{recipe.phrase()} needs HR images, and these are LR (`calib_is_lr`)")
    if sitting.minutes is not None and recipe.steps != recipe.choices()["steps"].default:
        raise UsageError(
            f"`steps` of the recipe are {recipe.steps}, and `minutes` {sitting.minutes:g} say how many fit; "
            "leave out one of them"
        )
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
    cropping = recipe.crops_for(model)
    crops = Crops(
        rest,
        scale=images.scale,
        size=cropping.size,
        batch=max(cropping.batch, len(distributed.gather(None))),
        candidates=cropping.candidates,
        seed=recipe.seed,
        is_lr=images.is_lr,
        progress=progress,
        on_skip=images.on_skip,
        device=device,
    )
    precision = dtype_of(recipe.precision, device)
    store, earlier = None, None
    if sitting.state is not None:  # one of another run is told before hours of work, not after
        identity = {
            "recipe": _values(recipe, sitting),
            **of_network(model),
            "calibration set": [stream.fingerprint, crops.fingerprint],
            "batch": crops.batch,
            "choice of images set aside": of_held_out(held_out),
            "precision": str(precision),
            "version": __version__,
        }
        store = Store(sitting.state, identity)
        if not sitting.resume:
            store.remove()
        earlier = store.load()
    guard = Guard(model, held_out, progress)
    start = recipe.start(model, patches, guard.drop, progress)
    chosen = recipe.settled(start)
    if sitting.minutes is not None:
        chosen = chosen.with_steps(
            earlier.steps
            if earlier is not None
            else _steps_that_fit(recipe.trainable(model, start, patches, precision), crops, guard, sitting, began)
        )
    trainable = chosen.trainable(model, start, patches, precision)
    outcome = loop.train(trainable, crops, chosen.steps, guard, store, progress)
    quantized = trainable.frozen()
    quantized.quantization = Quantization(
        chosen.to_dict(),
        {
            **describe(stream),
            "set_aside": [pair.name for pair in held_out.pairs],
            "drop_before": outcome.scores[0],
            "drop": outcome.scores[outcome.best],
            "best_step": outcome.best,
        },
    )
    return quantized


def _values(recipe: ByTraining, sitting: Sitting) -> dict[str, Any]:
    """What ``recipe`` says of a run, whose steps may be known later."""
    values = recipe.to_dict()
    if sitting.minutes is not None:
        values["steps"] = f"as many as fit into {sitting.minutes:g} minutes"
    return values


def _steps_that_fit(trainable: loop.Trainable, crops: Crops, guard: Guard, sitting: Sitting, began: float) -> int:
    a_step = loop.seconds_per_step(trainable, crops)
    before = time.monotonic()
    guard.drop(trainable.frozen())
    scores = (loop.SCORES + 1) * (time.monotonic() - before)
    return sitting.steps_that_fit(a_step, time.monotonic() - began + scores)
