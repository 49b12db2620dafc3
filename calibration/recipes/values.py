"""Names that choices of recipes take. What they stand for is where the work is done; here nothing needs torch."""

RANGES = ("minmax", "percentile", "mse")
"""Selectors of grids with an exact zero: how the range of a whole tensor is chosen, see :mod:`calibration.ranges`."""
SELECTORS = ("exact", "kmeans", "exhaustive", *RANGES, "log2")
"""What ``--selector`` takes, see :mod:`calibration.selection`."""
UNIVERSALS = ("additive", "even")
"""Sets that points are taken from."""
EVEN_FROM = 6
"""Bits from which points are evenly spaced: selected ones do hardly better, and take more room."""
HEADROOM = 3.0
"""Multiple of the spread seen beyond which activations saturate: docs/accuracy.md."""
WEIGHTS = ("minmax", "mse", "subset", "symmetric")
"""What ``--weights`` takes, see :mod:`calibration.weights`."""
PRECISIONS = ("auto", "f32", "bf16")
"""In what products are taken, see :mod:`calibration.training.precision`."""
