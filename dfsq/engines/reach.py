"""How far a pixel of a network's result looks: found by running the network, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import ceil, lcm

import numpy as np
import torch
from torch import Tensor

from dfsq.images.samples import photograph

_LENGTHS = (64, 128, 256, 512, 1024)
_WIDTH = 32
_STEPS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
_ALIKE = 2e-5
"""Values of 0–1 that differ by less are the same but for rounding."""

_MOST = 0.99
Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Reach:
    """What windows must have in common for their results to be those of the whole image."""

    overlap: int
    """Pixels beside a pixel that it depends on, a multiple of ``step``."""
    step: int
    """Windows begin at multiples of it: 2 for a network that first takes squares of 2×2 apart."""


@torch.no_grad()
def find(run: Run, scale: int, structure: Run | None = None) -> Reach | None:
    """The reach of ``run``, which upscales ``(1, 3, H, W)`` in 0–1; None where it is unbounded, or no window of the
    image gives what the whole image does.

    ``structure`` is a network of the same structure in which what is not a number stays one all the way through: then
    the reach is exact. Otherwise a row of ``run``'s input is changed, and the reach is how far that shows, and a half
    more: roundings hide what little the farthest rows contribute.
    """
    rows = [_rows(structure or run, scale, structure is not None, vertical) for vertical in (True, False)]
    if None in rows:
        return None
    most = max(each for each in rows if each is not None)

    def repeats(step: int) -> bool:
        return all(_same_when_cropped(run, scale, most, step, vertical) for vertical in (True, False))

    step = 1
    if not repeats(step):
        if not repeats(lcm(*_STEPS)):
            return None  # at none of them, without trying each
        step = next((each for each in _STEPS if repeats(each)), lcm(*_STEPS))
    return Reach(ceil(most / step) * step, step)


def _rows(run: Run, scale: int, spreads: bool, vertical: bool) -> int | None:
    for length in _LENGTHS:
        image = _picture(length, vertical)
        changed = image.clone()
        row = length // 2
        line = changed.narrow(2 if vertical else 3, row, 1)
        if spreads:
            line.fill_(torch.nan)
            differs = run(changed).isnan()
        else:
            line.mul_(-4).add_(2.5)  # inverted, and beyond the extremes of the picture, which a network may look for
            differs = run(changed) != run(image)
        along = differs.any(1).any(2 if vertical else 1)[0].nonzero().flatten()
        if not len(along):
            return 0
        before, after = row - int(along[0]) // scale, int(along[-1]) // scale - row
        if max(before, after) < row - 1:
            return max(before, after) + (0 if spreads else ceil(max(before, after) / 2))
    return None


def _same_when_cropped(run: Run, scale: int, rows: int, step: int, vertical: bool) -> bool:
    """Whether the result of an image without its first ``step`` rows is that of the whole, but for the border."""
    axis = 2 if vertical else 3
    length = 2 * (rows + step) + _WIDTH
    image = _picture(length, vertical)
    whole = run(image).narrow(axis, (step + rows) * scale, (length - step - rows) * scale)
    for cut in (step, -step):  # the end of a window is one of the image as well
        part = run(image.narrow(axis, max(cut, 0), length - step))
        if cut > 0:
            same, other = whole, part.narrow(axis, rows * scale, (length - step - rows) * scale)
        else:
            kept = (length - 2 * step - 2 * rows) * scale
            same, other = whole.narrow(axis, 0, kept), part.narrow(axis, (step + rows) * scale, kept)
        # Of integers a few fall to the other side of a half.
        if float(((same - other).abs() < _ALIKE).float().mean()) < _MOST:
            return False
    return True


def _picture(length: int, vertical: bool) -> Tensor:
    """``(1, 3, length, 32)``, or its transpose, of a photograph: some networks break down on noise."""
    strip = _strip(length)
    return strip if vertical else strip.transpose(2, 3).contiguous()


@cache
def _strip(length: int) -> Tensor:
    picture = photograph("china")[:, 200 : 200 + _WIDTH]
    rows = np.concatenate([picture, picture[::-1], picture])[:length]
    return torch.from_numpy(np.ascontiguousarray(rows)).permute(2, 0, 1)[None].float() / 255
