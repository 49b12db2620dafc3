"""Calibration: everything that looks at data to choose the parameters of a quantized network."""

from calibration.images import PatchStream
from calibration.methods import FixedRanges, Integers, OnePass, Sequential
from calibration.pipeline import quantize
from calibration.recipes.files import recipe
from calibration.recipes.recipe import Recipe
from calibration.set_aside import set_aside
from calibration.target import Target, quantize_within

__all__ = [
    "FixedRanges",
    "Integers",
    "OnePass",
    "PatchStream",
    "Recipe",
    "Sequential",
    "Target",
    "quantize",
    "quantize_within",
    "recipe",
    "set_aside",
]
