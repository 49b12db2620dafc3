"""Luma and chroma of ITU-R BT.601 in studio range, as MATLAB's ``rgb2ycbcr`` has them.

Tensors hold 8-bit values divided by 255, so Y lies in 16/255…235/255, Cb and Cr in 16/255…240/255: what the published
luminance networks are trained on.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LUMA = (65.481, 128.553, 24.966)
"""What red, green and blue in 0–1 add to Y, in 8-bit steps."""
_FROM_RGB = np.array([LUMA, (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214)]) / 255
_TO_RGB = np.linalg.inv(_FROM_RGB)
_OFFSET = np.array([16.0, 128.0, 128.0]) / 255
_GREY_STEPS = sum(LUMA) / 255


def rgb_to_ycbcr(rgb: Tensor) -> Tensor:
    """Y, Cb and Cr ``(N, 3, H, W)`` of RGB in 0–1."""
    return _mixed(rgb, _FROM_RGB, _OFFSET)


def ycbcr_to_rgb(ycbcr: Tensor) -> Tensor:
    """Inverse of :func:`rgb_to_ycbcr`, not clamped."""
    return _mixed(ycbcr, _TO_RGB, -_TO_RGB @ _OFFSET)


def grey_to_y(grey: Tensor) -> Tensor:
    """Y of grey in 0–1, where red, green and blue are equal."""
    return grey * _GREY_STEPS + float(_OFFSET[0])


def y_to_grey(luma: Tensor) -> Tensor:
    """Inverse of :func:`grey_to_y`, not clamped."""
    return (luma - float(_OFFSET[0])) / _GREY_STEPS


def _mixed(planes: Tensor, matrix: np.ndarray, offset: np.ndarray) -> Tensor:
    # Not a convolution: GPUs compute those with ten bits of mantissa.
    first, second, third = planes[:, :1], planes[:, 1:2], planes[:, 2:]
    rows = np.column_stack((matrix, offset)).tolist()
    return torch.cat([first * a + second * b + third * c + d for a, b, c, d in rows], dim=1)
