"""Calibration: everything that looks at data to choose the parameters of a quantized network."""

from calibration.images import PatchStream
from calibration.pipeline import quantize
from calibration.recipe import Recipe
from calibration.recipe_files import recipe
from calibration.set_aside import set_aside
from calibration.target import Target, quantize_within

__all__ = ["PatchStream", "Recipe", "Target", "quantize", "quantize_within", "recipe", "set_aside"]
