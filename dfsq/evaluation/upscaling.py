"""Upscaling one image as it is: 8 or 16 bits, grey or colour, with or without transparency, whole or in strips."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfsq.errors import DfsqError, ImageError
from dfsq.evaluation import bicubic
from dfsq.evaluation.scratch import Scratch
from dfsq.evaluation.tiling import run_in_strips
from dfsq.images.picture import Pixels
from dfsq.model import SRModel

_BAND = 256
"""Rows of the input that are converted together."""
_SMALL = 64
"""Up to this height or width a network may fail because its windows are larger than what they slide over."""
_HALO = 3
"""Rows beside a row on which its bicubic enlargement depends."""


@dataclass(frozen=True)
class Tiles:
    """How an image is upscaled that does not fit into memory."""

    rows: int
    """Rows of the input worked on at a time."""
    scratch: Path
    """Folder for what does not fit into memory meanwhile."""


def upscale_image(
    model: SRModel, pixels: Pixels, tiles: Tiles | None = None, on_work: Callable[[int], None] = lambda _: None
) -> Pixels:
    """Upscale ``(h, w, C)`` to ``(scale·h, scale·w, C)`` of the same dtype, uint8 or uint16.

    C is 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGB and alpha). Grey passes through the network as three equal
    channels, of whose results the mean is taken; alpha is enlarged bicubically. ``tiles``, for a model on the CPU,
    changes what is in memory, not the result; ``on_work`` is called with the :func:`work
    <dfsq.evaluation.memory.work>` of its operations. Raises :class:`ImageError` for an image that is too small for the
    network, and :class:`DfsqError` where the model's output is not finite, or memory or disk are too small.
    """
    channels = pixels.shape[2]
    colour, alpha = (pixels[:, :, :-1], pixels[:, :, -1:]) if channels % 2 == 0 else (pixels, None)
    result = np.empty((pixels.shape[0] * model.scale, pixels.shape[1] * model.scale, channels), pixels.dtype)
    _upscale_colour(model, colour, result[:, :, : colour.shape[2]], tiles, on_work)
    if alpha is not None:
        _upscale_alpha(alpha, result[:, :, -1:], model.scale)
    return result


def _upscale_colour(
    model: SRModel, colour: Pixels, result: Pixels, tiles: Tiles | None, on_work: Callable[[int], None]
) -> None:
    height, width, channels = colour.shape
    highest = np.iinfo(colour.dtype).max
    device = next(model.parameters()).device
    x = torch.from_numpy(colour.astype(np.float32)).to(device).permute(2, 0, 1)[None] / highest
    x = x.expand(1, 3, height, width)
    with ExitStack() as stack:
        if tiles is None:
            stack.enter_context(torch.inference_mode())
            try:
                maps = model(x)[0]
            except torch.cuda.OutOfMemoryError as error:
                raise DfsqError(f"{width}×{height} pixels are too many for {device}; use the CPU") from error
            except RuntimeError as error:
                if min(height, width) > _SMALL:
                    raise
                reason = str(error).partition("\n")[0]
                raise ImageError(
                    f"{width}×{height} pixels are too few for this network ({reason}); enlarge or pad the image"
                ) from error
        else:
            scratch = stack.enter_context(Scratch(tiles.scratch))
            maps = run_in_strips(model, x, tiles.rows, scratch, on_work)[0]
        band = _BAND * model.scale
        for start in range(0, result.shape[0], band):
            result[start : start + band] = _to_pixels(maps[:, start : start + band], channels, highest).numpy()


def _to_pixels(maps: Tensor, channels: int, highest: int) -> Tensor:
    """Values 0–1 ``(3, h, w)`` as integers 0–``highest`` ``(h, w, channels)``."""
    if not bool(torch.isfinite(maps).all()):
        raise DfsqError("the model's output is not finite; its weights or quantization parameters are damaged")
    maps = maps.mean(0, keepdim=True) if channels == 1 else maps
    return (maps * highest).clamp(0, highest).round().permute(1, 2, 0).to(torch.int32).cpu()


def _upscale_alpha(alpha: Pixels, result: Pixels, scale: int) -> None:
    """Band by band, for the enlargement in float64 takes many times the memory of its result."""
    height, highest = len(alpha), np.iinfo(alpha.dtype).max
    for start in range(0, height, _BAND):
        stop = min(start + _BAND, height)
        first = max(0, start - _HALO)
        enlarged = bicubic.upscale(alpha[first : stop + _HALO].astype(np.float64), scale)
        rows = enlarged[(start - first) * scale : (stop - first) * scale]
        result[start * scale : stop * scale] = np.rint(np.clip(rows, 0, highest))
