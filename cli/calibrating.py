"""Quantizing a model on images, with progress, for the commands that do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import note
from cli.progress import progress

if TYPE_CHECKING:
    from calibration import PatchStream, Recipe
    from calibration.images import Image
    from dfsq.model import SRModel


def quantize_model(
    model: SRModel, recipe: Recipe, images: tuple[Path, ...], quiet: bool, *, is_lr: bool = False
) -> SRModel:
    """Quantize ``model`` on patches of ``images``, files or folders; without any, of the sample photographs."""
    import calibration
    from dfsq.evaluation import samples

    patches = patches_of(model, recipe, images or samples.calibration_images(), quiet, is_lr=is_lr)
    with progress(quiet) as advance:
        return calibration.quantize(model, patches, recipe, advance)


def patches_of(model: SRModel, recipe: Recipe, images: Sequence[Path | Image], quiet: bool, is_lr: bool) -> PatchStream:
    """Patches of ``images`` as ``recipe`` wants them; what is passed over is noted."""
    import calibration

    return calibration.PatchStream(
        images,
        scale=model.scale,
        patches=recipe.patches_for(model),
        patch_size=recipe.patch_size,
        seed=recipe.seed,
        is_lr=is_lr,
        on_skip=lambda reason: note(reason, quiet),
    )
