"""Calibration: everything that looks at data to choose the parameters of a quantized network."""

from calibration.images import PatchStream
from calibration.methods import DDTB, FixedRanges, Integers, OnePass, Sequential, Trained
from calibration.pipeline import quantize, train
from calibration.recipes.files import recipe
from calibration.recipes.recipe import Recipe
from calibration.set_aside import set_aside
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
