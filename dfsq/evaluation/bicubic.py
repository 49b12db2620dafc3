"""Bicubic resizing as MATLAB's ``imresize`` does it, on uint8 images to the bit.

Cubic convolution with a = −0.5, widened when shrinking (antialiasing), symmetric borders, rows first. A uint8 image is
rounded to uint8 after each of the two passes, a floating-point image never.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_REACH = 2
"""Neighbours on each side that count when enlarging."""
Image = TypeVar("Image", NDArray[np.uint8], NDArray[np.float64])


def downscale(image: Image, scale: int) -> Image:
    """Shrink an image ``(H, W, C)`` to ``(H // scale, W // scale, C)``; the remainder is cropped first."""
    height, width = image.shape[0] // scale, image.shape[1] // scale
    return cast(Image, _resize(image[: height * scale, : width * scale], height, width))


def upscale(image: Image, scale: int) -> Image:
    """Enlarge an image ``(H, W, C)`` to ``(H · scale, W · scale, C)``: the baseline of every benchmark."""
    return cast(Image, _resize(image, image.shape[0] * scale, image.shape[1] * scale))


def enlarge(maps: Tensor, scale: int) -> Tensor:
    """:func:`upscale` of tensors ``(N, C, H, W)``, never rounded: ``(N, C, H · scale, W · scale)``.

    Computes nothing from sizes but indices, so that it can be exported for images of any size.
    """
    weights = _phases(scale).tolist()
    for axis in (2, 3):
        size = maps.shape[axis]
        position = torch.arange(-_REACH, size + _REACH, device=maps.device)
        # Mirrored at the start, at the end and, where one pixel has neighbours beyond both, at the start again.
        position = torch.maximum(position, -1 - position)
        position = torch.minimum(position, 2 * size - 1 - position)
        position = torch.maximum(position, -1 - position)
        mirrored = maps.index_select(axis, position)
        phases = []
        for phase in weights:
            taps = [mirrored.narrow(axis, tap, size) * weight for tap, weight in enumerate(phase) if weight]
            phases.append(sum(taps[1:], taps[0]))
        maps = torch.stack(phases, axis + 1).flatten(axis, axis + 1)
    return maps


def _phases(scale: int) -> NDArray[np.float64]:
    """Weights ``(scale, 2 · _REACH + 1)`` of the neighbours of a pixel in each of the ``scale`` that it becomes."""
    offsets = (np.arange(scale) + 0.5) / scale - 0.5
    weights = _cubic(offsets[:, None] - np.arange(-_REACH, _REACH + 1))
    return cast(NDArray[np.float64], weights / weights.sum(1, keepdims=True))


def _resize(image: Any, height: int, width: int) -> Any:
    rows = _resize_first_axis(image, height)
    return _resize_first_axis(rows.swapaxes(0, 1), width).swapaxes(0, 1)


def _resize_first_axis(image: NDArray[Any], length: int) -> NDArray[Any]:
    weights, indices = _contributions(image.shape[0], length)
    result = np.zeros((length, *image.shape[1:]))
    for tap in range(weights.shape[1]):
        result += weights[:, tap, None, None] * image[indices[:, tap]]
    if image.dtype != np.uint8:
        return result
    # MATLAB rounds halves away from zero; sums that are halves in exact arithmetic come out a little below them.
    return np.floor(np.clip(result, 0, 255) + 0.5 + 1e-9).astype(np.uint8)


def _contributions(before: int, after: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Weights and source indices, both ``(after, taps)``, of every output position."""
    factor = after / before
    shrink = min(factor, 1.0)
    support = 4 / shrink
    centers = (np.arange(after) + 0.5) / factor - 0.5
    first = np.floor(centers - support / 2).astype(np.int64)
    indices = first[:, None] + np.arange(int(np.ceil(support)) + 2)
    weights = shrink * _cubic(shrink * (centers[:, None] - indices))
    weights /= weights.sum(1, keepdims=True)
    mirrored = np.mod(indices, 2 * before)
    indices = np.where(mirrored < before, mirrored, 2 * before - 1 - mirrored)
    return weights, indices


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = −0.5."""
    x = np.abs(x)
    inner = 1.5 * x**3 - 2.5 * x**2 + 1
    outer = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0))
