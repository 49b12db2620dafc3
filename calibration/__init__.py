"""Calibration: everything that looks at data to choose the parameters of a quantized network.

Names are resolved on first use: a recipe can be read without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from calibration.held_out import set_aside
    from calibration.images import PatchStream
    from calibration.methods import DDTB, FixedRanges, Integers, OnePass, Sequential, Trained
    from calibration.pipeline import quantize, train
    from calibration.recipes.files import recipe
    from calibration.recipes.recipe import Recipe
    from calibration.target import Target, quantize_within
    from calibration.training.sitting import Sitting

__all__ = [
    "DDTB",
    "FixedRanges",
    "Integers",
    "OnePass",
    "PatchStream",
    "Recipe",
    "Sequential",
    "Sitting",
    "Target",
    "Trained",
    "quantize",
    "quantize_within",
    "recipe",
    "set_aside",
    "train",
]

_HOMES = {
    "PatchStream": "images",
    "Recipe": "recipes.recipe",
    "Sitting": "training.sitting",
    "Target": "target",
    "quantize": "pipeline",
    "quantize_within": "target",
    "recipe": "recipes.files",
    "set_aside": "held_out",
    "train": "pipeline",
}
"""Modules of names; those that are not here are methods."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'calibration' has no attribute {name!r}")
    return getattr(import_module(f"calibration.{_HOMES.get(name, 'methods')}"), name)
