"""The network in full precision in the units in which a method has quantized it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from calibration.images import PatchStream
from calibration.methods.planned import Planned
from calibration.methods.run import Calibration
from calibration.models import copied
from calibration.progress import Progress, silent
from calibration.recipes.recipe import METHODS, Recipe
from dfsq.model import SRModel


def is_folded(recipe: Mapping[str, Any]) -> bool:
    """Whether ``recipe``, as an artifact holds it, folds factors of channels into layers: the checkpoint then is in
    other units than the artifact."""
    method = METHODS.get(recipe.get("method", ""))
    if method is None or not issubclass(method, Planned):
        return False
    values = {name: recipe[name] for name in method.choices() if name in ("target", "compensation") and name in recipe}
    return method.of(values).folds


def in_units_of(
    recipe: Recipe, full: SRModel, images: PatchStream | Iterable[Tensor], progress: Progress = silent
) -> SRModel:
    """``full``; where ``recipe`` folds factors of channels into layers a copy that has them, whose output is the same.

    ``images``: those that the recipe was calibrated on.
    """
    if not isinstance(recipe, Planned) or not recipe.folds:
        return full
    run = Calibration(full, images, recipe, progress)
    result = copied(full)
    recipe.prepared(result, run.plan, list(run.images), run.sensitivities)
    return result
