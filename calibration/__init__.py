"""Calibration: everything that looks at data to choose the parameters of a quantized network."""

from calibration.images import PatchStream
from calibration.pipeline import quantize
from calibration.recipe import RECIPES, Recipe, recipe

__all__ = ["RECIPES", "PatchStream", "Recipe", "quantize", "recipe"]
