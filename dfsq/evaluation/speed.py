"""How long an engine takes, measured on an image of the evaluation."""

from __future__ import annotations

import math
import time

from dfsq.engines.engine import Engine
from dfsq.evaluation.upscaling import upscale_to_score
from dfsq.images.picture import Pixels

_RUNS = 3


def seconds_per_megapixel(engine: Engine, pixels: Pixels) -> float:
    """Seconds for a million pixels of the result of uint8 RGB ``(h, w, 3)``.

    The least of three runs, after one in which the engine makes itself ready for that size. Raises what
    :func:`upscale_to_score` does.
    """
    upscale_to_score(engine, pixels)
    taken: list[float] = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        upscale_to_score(engine, pixels)
        taken.append(time.perf_counter() - start)
    return 1e6 * min(taken) / (math.prod(pixels.shape[:2]) * engine.scale**2)
