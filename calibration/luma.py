"""How errors of a picture count: mostly as luma (Y of BT.601), which eyes see best and PSNR is taken of."""

from __future__ import annotations

import torch
from torch import Tensor

from dfsq.images.colour import LUMA

_CHROMA = 0.25
"""What the square of an error without luma counts; one along luma, 2.5."""


def weighed(errors: Tensor) -> Tensor:
    """``errors`` of RGB ``(N, 3, H, W)``, along luma longer and across it shorter by a symmetric matrix R.

    White noise has the same mean square before and after: the trace of R² is 3.
    """
    across = _CHROMA**0.5
    along = (3 - 2 * _CHROMA) ** 0.5
    direction = torch.tensor(LUMA, dtype=errors.dtype, device=errors.device)
    direction = (direction / direction.norm()).view(3, 1, 1)
    luma = (errors * direction).sum(1, keepdim=True)
    result: Tensor = errors * across + luma * direction * (along - across)
    return result
