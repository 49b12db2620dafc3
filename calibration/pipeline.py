"""Quantization of a whole model by whatever method its recipe names."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from calibration.images import PatchStream
from calibration.methods.by_training import ByTraining
from calibration.models import check_full_precision
from calibration.progress import Progress, silent
from calibration.recipes import files
from calibration.recipes.recipe import Recipe
from calibration.training.sitting import Sitting
from dfsq.errors import UsageError
from dfsq.model import SRModel


def quantize(
    model: SRModel,
    images: PatchStream | Iterable[Tensor],
    recipe: Recipe | None = None,
    progress: Progress = silent,
) -> SRModel:
    """Quantize a full-precision ``model`` by ``recipe`` (None: the one that is called ``accurate``) and return a new
    one; ``model`` itself is not changed.

    ``images`` are LR batches ``(N, 3, H, W)`` in 0–1, seen once, one batch at a time: a :class:`PatchStream` or any
    iterable. The network sees them one by one, and nothing but counts and maxima is kept: how they are cut into batches
    and in which order they come does not matter to the bit. Compensation, feedback and mixed precision hold all of them
    at once, need one size, and go by their order. Several processes (:mod:`dfsq.distributed`) give what one gives.
    Raises :class:`UsageError` for patterns in the recipe that match no layer, a model that is quantized already or
    cannot be copied, a network that :func:`dfsq.wrap` has to wrap first, no images, or images of several sizes where
    they need one.
    """
    check_full_precision(model)
    return (recipe or files.recipe()).quantize(model, images, progress)


def train(
    model: SRModel, images: PatchStream, recipe: Recipe, sitting: Sitting, progress: Progress = silent
) -> SRModel:
    """Quantize as :func:`quantize` does, by a method that trains, in a ``sitting`` that can be interrupted.

    Raises what that raises, and :class:`UsageError` for a method that does not train, for the state of another run, and
    for minutes beside a recipe with a number of steps of its own.
    """
    if not isinstance(recipe, ByTraining):
        raise UsageError(f"the method {recipe.method} does not train: `minutes` and `resume` mean nothing to it")
    check_full_precision(model)
    return recipe.train(model, images, sitting, progress)
