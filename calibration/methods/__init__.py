"""Methods: one file each, what it can be told and how it makes a quantized model of one in full precision.

A method is a :class:`~calibration.recipes.recipe.Recipe` type, registered under the name by which recipes call it.
"""

from calibration.methods.ddtb import DDTB
from calibration.methods.fixed_ranges import FixedRanges
from calibration.methods.integers import Integers
from calibration.methods.one_pass import OnePass
from calibration.methods.sequential import Sequential
from calibration.methods.trained import Trained

__all__ = ["DDTB", "FixedRanges", "Integers", "OnePass", "Sequential", "Trained"]
