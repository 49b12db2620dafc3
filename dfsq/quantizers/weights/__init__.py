"""Quantized weights as they are kept: codes and what decodes them.

One file per kind; those that files name are looked up in ``KINDS``.
"""

from dfsq.quantizers.weights.base import QuantizedWeight
from dfsq.quantizers.weights.bounds import BoundsWeight
from dfsq.quantizers.weights.columns import COLUMNS, ColumnScaledWeight, scales_of, steps_of, with_columns
from dfsq.quantizers.weights.subset import SubsetWeight, weight_bins
from dfsq.quantizers.weights.uniform import UniformWeight

KINDS: dict[str, type[UniformWeight] | type[SubsetWeight] | type[BoundsWeight]] = {
    each.kind: each for each in (UniformWeight, SubsetWeight, BoundsWeight)
}

__all__ = [
    "COLUMNS",
    "KINDS",
    "BoundsWeight",
    "ColumnScaledWeight",
    "QuantizedWeight",
    "SubsetWeight",
    "UniformWeight",
    "scales_of",
    "steps_of",
    "weight_bins",
    "with_columns",
]
