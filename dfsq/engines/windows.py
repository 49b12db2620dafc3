"""Overlapping windows: images that are too large for an engine, one window at a time.

A window takes as much beside what it contributes as the network looks at, so its part of the result is that of the
whole image. All windows of an image have the same size where they can, for engines choose other code for other sizes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from math import ceil, sqrt

import torch
from torch import Tensor

from dfsq.engines.engine import Engine, OnProgress
from dfsq.engines.memory import OVERHEAD
from dfsq.engines.reach import Reach

_USUAL = 32
"""Overlap where the network looks at the whole image and nobody has chosen another."""
_LARGEST = 512
"""Larger windows save next to nothing that is computed twice."""
_SMALLEST = 16


def tile_within(engine: Engine, height: int, width: int, memory: float, overlap: int | None = None) -> int | None:
    """See :meth:`Engine.tile <dfsq.engines.engine.Engine.tile>`."""
    pixel = engine.bytes_per_pixel() * OVERHEAD
    if pixel * height * width <= memory:
        return None
    around = 2 * _chosen(engine, overlap)[0].overlap
    return max(_SMALLEST, min(_LARGEST, int(sqrt(memory / pixel)) - around))


class Windows(Engine):
    """An engine that sees an image in overlapping windows."""

    def __init__(self, engine: Engine, tile: int, overlap: int | None, on_progress: OnProgress) -> None:
        """``tile``: height and width of what a window contributes, in pixels of the input; ``overlap``: what it sees
        beside that, found by trying the network where None."""
        reach, self._note = _chosen(engine, overlap)
        super().__init__(engine.info, engine.description, engine.quantization)
        self._engine = engine
        self._overlap = reach.overlap
        self._step = reach.step
        self._tile = ceil(tile / reach.step) * reach.step
        self._on_progress = on_progress

    def run(self, images: Tensor) -> Tensor:
        """See :class:`Engine`."""
        return torch.cat(list(self.bands(images)), dim=2)

    def plan(self, height: int, width: int) -> str:
        """See :class:`Engine`."""
        return f"windows of {self._tile}×{self._tile} pixels; {self._note}"

    def bands(self, images: Tensor) -> Generator[Tensor]:
        """See :class:`Engine`: a band of windows at a time."""
        rows, columns = (list(self._cuts(length)) for length in images.shape[2:])
        done, scale = 0, self.scale
        for top, bottom in rows:
            first, last = self._window(top, bottom, images.shape[2])
            parts = []
            for left, right in columns:
                start, stop = self._window(left, right, images.shape[3])
                result = self._engine(images[:, :, first:last, start:stop].contiguous())
                inside = result.narrow(2, (top - first) * scale, (bottom - top) * scale)
                parts.append(inside.narrow(3, (left - start) * scale, (right - left) * scale))
                done += 1
                self._on_progress(done / (len(rows) * len(columns)))
            yield torch.cat(parts, dim=3)

    def _cuts(self, length: int) -> Iterator[tuple[int, int]]:
        return ((start, min(start + self._tile, length)) for start in range(0, length, self._tile))

    def _window(self, start: int, stop: int, length: int) -> tuple[int, int]:
        """Where the window begins and ends that contributes ``start:stop``."""
        size = self._tile + 2 * self._overlap
        first = max(0, min(start - self._overlap, length - size)) // self._step * self._step
        last = first + size
        return first, length if last + self._step > length else last


def _chosen(engine: Engine, overlap: int | None) -> tuple[Reach, str]:
    """The overlap, and what a user should know of it."""
    if overlap is None:
        found = engine.reach
        if found is not None:
            return found, f"windows overlap by {found.overlap} pixels, which is as far as this network looks"
        overlap = _USUAL
        choose = "; choose another with `overlap`"
    else:
        found, choose = engine.reach, ""
        if found is not None:
            kept = ceil(overlap / found.step) * found.step
            short = f", though this network looks {found.overlap} far: seams may show" if kept < found.overlap else ""
            return Reach(kept, found.step), f"windows overlap by {kept} pixels{short}"
    unbounded = "this network looks at the whole image, or its result depends on where a window begins"
    return Reach(
        overlap, 1
    ), f"{unbounded}: windows that overlap by {overlap} pixels give a slightly other picture{choose}"
