"""Calibration: everything that looks at data to choose the parameters of a quantized network."""

from calibration.images import PatchStream
from calibration.pipeline import quantize
from calibration.recipe import Recipe
from calibration.recipe_files import recipe

__all__ = ["PatchStream", "Recipe", "quantize", "recipe"]
