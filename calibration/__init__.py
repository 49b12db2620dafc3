"""Calibration: everything that looks at data to choose the parameters of a quantized network.

Recipes and methods are read without torch; names of what needs it are resolved on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from calibration.methods import DDTB, FixedRanges, Integers, OnePass, Sequential, Trained
from calibration.recipes.files import recipe
from calibration.recipes.recipe import Recipe
from calibration.training.sitting import Sitting

if TYPE_CHECKING:
    from calibration.held_out import set_aside
    from calibration.images import PatchStream
    from calibration.pipeline import quantize, train
    from calibration.target import Target, quantize_within

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
    "PatchStream": "calibration.images",
    "Target": "calibration.target",
    "quantize": "calibration.pipeline",
    "quantize_within": "calibration.target",
    "set_aside": "calibration.held_out",
    "train": "calibration.pipeline",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'calibration' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
