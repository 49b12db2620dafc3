"""PSNR and SSIM as super-resolution papers report them (Y channel, cropped border)."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dfsq.errors import ImageError
from dfsq.evaluation.results import Scores
from dfsq.images.colour import LUMA

Image = NDArray[np.uint8]
PEAK = 255.0
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2


def score(result: Image, truth: Image, border: int, luma: Tensor | None = None) -> Scores:
    """Compare two uint8 RGB images ``(H, W, 3)`` without the outer ``border`` pixels.

    ``luma`` ``(1, H, W)`` in 0–255 replaces that of ``result`` where the network made it itself. Raises
    :class:`ImageError` where the shapes differ or the cropped image is smaller than SSIM's 11×11 window.
    """
    if result.shape != truth.shape:
        raise ImageError(f"images of {result.shape} and {truth.shape} cannot be compared")
    if min(truth.shape[:2]) - 2 * border < _WINDOW:
        raise ImageError(
            f"{truth.shape[1]}×{truth.shape[0]} without a border of {border} is smaller than 11×11; use larger images"
        )
    pair = torch.stack([torch.tensor(np.ascontiguousarray(image)) for image in (result, truth)])
    inner = (..., slice(border, -border or None), slice(border, -border or None))
    rgb = pair.permute(0, 3, 1, 2).double()[inner]
    own, true = rgb_to_y(rgb)
    if luma is not None:
        own = luma[inner]
    return Scores(psnr(own, true), ssim(own, true), psnr(*rgb), ssim(*rgb))


def rgb_to_y(rgb: Tensor) -> Tensor:
    """Luma of ITU-R BT.601 in studio range, not rounded: ``(…, 3, H, W)`` in 0–255 to ``(…, 1, H, W)`` in 16–235."""
    weights = torch.tensor(LUMA, dtype=rgb.dtype, device=rgb.device) / PEAK
    return 16 + (rgb * weights.view(3, 1, 1)).sum(-3, keepdim=True)


def psnr(result: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of two tensors of the same shape in 0–255; inf where they are equal."""
    error = float((result - truth).square().mean())
    return 10 * math.log10(PEAK**2 / error) if error else math.inf


def ssim(result: Tensor, truth: Tensor) -> float:
    """Structural similarity (Wang et al. 2004) of two images ``(C, H, W)`` in 0–255, mean over channels.

    Gaussian window 11×11 with σ = 1.5 at valid positions only, K = (0.01, 0.03).
    """
    offsets = torch.arange(_WINDOW, dtype=torch.float64, device=truth.device) - _WINDOW // 2
    window = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    window /= window.sum()
    x, y = result.double()[:, None], truth.double()[:, None]
    moments = torch.cat([x, y, x * x, y * y, x * y])
    moments = F.conv2d(F.conv2d(moments, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    mean_x, mean_y, square_x, square_y, product = moments.chunk(5)
    variance_x, variance_y = square_x - mean_x.square(), square_y - mean_y.square()
    covariance = product - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x.square() + mean_y.square() + _C1)
    structure = (2 * covariance + _C2) / (variance_x + variance_y + _C2)
    return float((luminance * structure).mean())
