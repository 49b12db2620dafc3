"""Two photographs that come with scikit-learn: enough to try the tool, not a benchmark.

Their left halves serve calibration and their right halves evaluation, so that no pixel is used for both.
"""

from __future__ import annotations

from importlib.resources import as_file, files

from dfsq.evaluation.benchmarks import Benchmark, Image, Pair
from dfsq.images.files import read_image

NAMES = ("china", "flower")
NOTE = "right halves of two sample photographs: a smoke figure, not a benchmark"


def calibration_images() -> list[Image]:
    """Left halves, uint8 RGB ``(427, 320, 3)``."""
    return [_read(name)[:, :320] for name in NAMES]


def benchmark(scale: int) -> Benchmark:
    """Right halves as a set named ``samples``, LR by MATLAB bicubic."""
    return Benchmark("samples", scale, tuple(Pair(name, _read(name)[:, 320:], None) for name in NAMES))


def _read(name: str) -> Image:
    with as_file(files("sklearn.datasets.images") / f"{name}.jpg") as path:
        return read_image(path)
