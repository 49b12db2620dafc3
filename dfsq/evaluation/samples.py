"""Two sample photographs: enough to try the tool, not a benchmark.

Their left halves serve calibration and their right halves evaluation, so that no pixel is used for both.
"""

from __future__ import annotations

from dfsq.evaluation.benchmarks import Benchmark, Image, Pair
from dfsq.images.samples import NAMES, photograph

NOTE = "right halves of two sample photographs: a smoke figure, not a benchmark"


def calibration_images() -> list[Image]:
    """Left halves, uint8 RGB ``(427, 320, 3)``."""
    return [photograph(name)[:, :320] for name in NAMES]


def benchmark(scale: int) -> Benchmark:
    """Right halves as a set named ``samples``, LR by MATLAB bicubic."""
    return Benchmark("samples", scale, tuple(Pair(name, photograph(name)[:, 320:], None) for name in NAMES))
