"""Upscaling one image as it is: 8 or 16 bits, grey or colour, with or without transparency."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import torch
from torch import Tensor

from dfsq.engines.engine import Engine
from dfsq.engines.opening import as_engine
from dfsq.errors import OutputError
from dfsq.evaluation import bicubic
from dfsq.images.colour import rgb_to_ycbcr
from dfsq.images.picture import Pixels
from dfsq.model import SRModel

_BAND = 256
"""Rows that are converted together."""
_HALO = 3
"""Rows beside a row on which its bicubic enlargement depends."""


def upscale_image(model: SRModel | Engine, pixels: Pixels) -> Pixels:
    """Upscale ``(h, w, C)`` to ``(scale·h, scale·w, C)`` of the same dtype, uint8 or uint16.

    C is 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGB and alpha); alpha is upscaled bicubically. An engine that works
    in tiles need not hold the whole result in floating point. Raises :class:`~dfsq.errors.ImageError` for an image that
    is too small for the network, :class:`OutputError` where the output is not finite, and
    :class:`~dfsq.errors.DfsqError` where memory or disk are too small.
    """
    engine = as_engine(model, "upscale_image")
    channels = pixels.shape[2]
    colour, alpha = (pixels[:, :, :-1], pixels[:, :, -1:]) if channels % 2 == 0 else (pixels, None)
    result = _empty(engine, pixels)
    with closing(engine.bands(_values(colour))) as bands:
        start = 0
        for band in bands:
            stop = start + band.shape[2]
            _to_pixels(band, result[start:stop, :, : colour.shape[2]])
            start = stop
    if alpha is not None:
        _upscale_alpha(alpha, result[:, :, -1:], engine.scale)
    return result


def upscale_to_score(engine: Engine, pixels: Pixels) -> tuple[Pixels, Tensor | None]:
    """Upscale uint8 RGB ``(h, w, 3)`` to ``(scale·h, scale·w, 3)``, and return what a luminance network is scored on.

    That is its own output in 0–255, clamped and rounded, float64 ``(1, scale·h, scale·w)``: on its way to RGB it would
    meet the limits of three colours. None for an RGB network. Raises what :func:`upscale_image` does.
    """
    maps = engine(_values(pixels))
    result = _empty(engine, pixels)
    _to_pixels(maps, result)
    if engine.info.channels == 3:
        return result, None
    luma = rgb_to_ycbcr(maps)[0, :1].double().cpu()
    return result, (luma * 255).clamp(0, 255).round()


def _empty(engine: Engine, pixels: Pixels) -> Pixels:
    height, width, channels = pixels.shape
    return np.empty((height * engine.scale, width * engine.scale, channels), pixels.dtype)


def _values(colour: Pixels) -> Tensor:
    """Pixels ``(h, w, C)`` as ``(1, C, h, w)`` in 0–1."""
    return torch.from_numpy(colour.astype(np.float32)).permute(2, 0, 1)[None] / np.iinfo(colour.dtype).max


def _to_pixels(maps: Tensor, result: Pixels) -> None:
    """Write values 0–1 ``(1, C, h, w)`` into integers ``(h, w, C)``, band by band: their conversion takes memory."""
    highest = np.iinfo(result.dtype).max
    for start in range(0, result.shape[0], _BAND):
        band = maps[0, :, start : start + _BAND]
        if not bool(torch.isfinite(band).all()):
            raise OutputError("the model's output is not finite; its weights or quantization parameters are damaged")
        rounded = (band * highest).clamp(0, highest).round().permute(1, 2, 0)
        result[start : start + _BAND] = rounded.to(torch.int32).cpu().numpy()


def _upscale_alpha(alpha: Pixels, result: Pixels, scale: int) -> None:
    """Band by band, for the enlargement in float64 takes many times the memory of its result."""
    height, highest = len(alpha), np.iinfo(alpha.dtype).max
    for start in range(0, height, _BAND):
        stop = min(start + _BAND, height)
        first = max(0, start - _HALO)
        enlarged = bicubic.upscale(alpha[first : stop + _HALO].astype(np.float64), scale)
        rows = enlarged[(start - first) * scale : (stop - first) * scale]
        result[start * scale : stop * scale] = np.rint(np.clip(rows, 0, highest))
