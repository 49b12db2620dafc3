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
from dfsq.images.colour import rgb_to_ycbcr
from dfsq.images.picture import Pixels
from dfsq.model import SRModel

_BAND = 256
"""Rows that are converted together."""
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

    C is 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGB and alpha). Grey is upscaled by :meth:`SRModel.upscale_grey
    <dfsq.model.SRModel.upscale_grey>`, alpha bicubically. ``tiles``, for a model on the CPU, changes what is in memory,
    not the result; ``on_work`` is called with the :func:`work <dfsq.evaluation.memory.work>` of its operations. Raises
    :class:`ImageError` for an image that is too small for the network, and :class:`DfsqError` where the model's output
    is not finite, or memory or disk are too small.
    """
    channels = pixels.shape[2]
    colour, alpha = (pixels[:, :, :-1], pixels[:, :, -1:]) if channels % 2 == 0 else (pixels, None)
    result = _empty(model, pixels)
    with ExitStack() as stack:
        if tiles is None:
            maps = _whole(model, colour)
        else:
            scratch = stack.enter_context(Scratch(tiles.scratch))
            network = model.upscale_grey if colour.shape[2] == 1 else model
            maps = run_in_strips(network, _values(model, colour), tiles.rows, scratch, on_work)
        _to_pixels(maps, result[:, :, : colour.shape[2]])
    if alpha is not None:
        _upscale_alpha(alpha, result[:, :, -1:], model.scale)
    return result


def upscale_to_score(model: SRModel, pixels: Pixels) -> tuple[Pixels, Tensor | None]:
    """Upscale uint8 RGB ``(h, w, 3)`` to ``(scale·h, scale·w, 3)``, and return what a luminance network is scored on.

    That is its own output in 0–255, clamped and rounded, float64 ``(1, scale·h, scale·w)``: on its way to RGB it would
    meet the limits of three colours. None for an RGB network. Raises what :func:`upscale_image` does.
    """
    maps = _whole(model, pixels)
    result = _empty(model, pixels)
    _to_pixels(maps, result)
    if model.info.channels == 3:
        return result, None
    luma = rgb_to_ycbcr(maps)[0, :1].double().cpu()
    return result, (luma * 255).clamp(0, 255).round()


def _empty(model: SRModel, pixels: Pixels) -> Pixels:
    height, width, channels = pixels.shape
    return np.empty((height * model.scale, width * model.scale, channels), pixels.dtype)


def _values(model: SRModel, colour: Pixels) -> Tensor:
    """Pixels ``(h, w, C)`` as ``(1, C, h, w)`` in 0–1 where the model is."""
    device = next(model.parameters()).device
    return torch.from_numpy(colour.astype(np.float32)).to(device).permute(2, 0, 1)[None] / np.iinfo(colour.dtype).max


@torch.inference_mode()
def _whole(model: SRModel, colour: Pixels) -> Tensor:
    network = model.upscale_grey if colour.shape[2] == 1 else model
    x = _values(model, colour)
    size = f"{x.shape[3]}×{x.shape[2]}"
    try:
        return network(x)
    except torch.cuda.OutOfMemoryError as error:
        raise DfsqError(f"{size} pixels are too many for {x.device}; upscale them on the CPU") from error
    except RuntimeError as error:
        if min(x.shape[2:]) > _SMALL:
            raise
        reason = str(error).partition("\n")[0]
        raise ImageError(f"{size} pixels are too few for this network ({reason}); enlarge or pad the image") from error


def _to_pixels(maps: Tensor, result: Pixels) -> None:
    """Write values 0–1 ``(1, C, h, w)`` into integers ``(h, w, C)``, band by band: their conversion takes memory."""
    highest = np.iinfo(result.dtype).max
    for start in range(0, result.shape[0], _BAND):
        band = maps[0, :, start : start + _BAND]
        if not bool(torch.isfinite(band).all()):
            raise DfsqError("the model's output is not finite; its weights or quantization parameters are damaged")
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
