"""Quantizing a model on images, with progress, for the commands that do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import note, progress

if TYPE_CHECKING:
    from calibration import Recipe
    from dfsq.model import SRModel


def quantize_model(
    model: SRModel, recipe: Recipe, images: tuple[Path, ...], quiet: bool, *, is_lr: bool = False
) -> SRModel:
    """Quantize ``model`` on patches of ``images``, files or folders; without any, of the sample photographs."""
    import calibration
    from dfsq.evaluation import samples

    patches = calibration.PatchStream(
        images or samples.calibration_images(),
        scale=model.scale,
        patches=recipe.patches,
        patch_size=recipe.patch_size,
        seed=recipe.seed,
        is_lr=is_lr,
        on_skip=lambda reason: note(reason, quiet),
    )
    with progress(quiet) as advance:
        return calibration.quantize(model, patches, recipe, advance)
