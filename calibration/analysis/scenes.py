"""The images that an analysis looks at, and how close to them and to full precision a model comes."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from calibration.models import device_of
from dfsq.evaluation.benchmarks import Benchmark
from dfsq.evaluation.metrics import psnr, rgb_to_y
from dfsq.images.colour import rgb_to_ycbcr
from dfsq.images.picture import Pixels
from dfsq.model import SRModel
from dfsq.runtime import compiled_quantizers

SIDE = 192
"""Longest side of what is looked at of an image, HR pixels."""


@dataclass(frozen=True)
class Seen:
    """How a model did, mean over the images."""

    psnr: float
    """Y-PSNR against HR, dB."""
    error: float
    """Mean squared difference of the output from that in full precision, values in 0–1."""


class Scenes:
    """Middles of images, what a model in full precision makes of them, and how others compare with it."""

    def __init__(self, full: SRModel, images: Benchmark) -> None:
        """Raises what reading ``images`` raises."""
        device = device_of(full)
        self._scale = full.scale
        self.lr: list[Tensor] = []
        """``(1, 3, h, w)`` in 0–1, one for every image."""
        self._luma: list[Tensor] = []
        for pair in images.pairs:
            lr, hr = _middle(*pair.read(full.scale), full.scale)
            self.lr.append(_values(lr).to(device))
            self._luma.append(rgb_to_y(_values(hr)[0].double() * 255))
        self._wanted = self._outputs(full)
        self.full = fmean(self._psnr(output, index, full) for index, output in enumerate(self._wanted))
        """Y-PSNR in full precision, dB, mean over the images."""

    def seen(self, model: SRModel) -> Seen:
        """How ``model`` does on all images."""
        outputs = self._outputs(model)
        error = fmean(float((own - other).square().mean()) for own, other in zip(outputs, self._wanted, strict=True))
        return Seen(fmean(self._psnr(output, index, model) for index, output in enumerate(outputs)), error)

    @torch.inference_mode()
    def _outputs(self, model: SRModel) -> list[Tensor]:
        with compiled_quantizers(self.lr[0].device.type):
            return [model(image) for image in self.lr]

    def _psnr(self, output: Tensor, index: int, model: SRModel) -> float:
        """By the protocol of :func:`dfsq.evaluate`."""
        if model.info.channels == 3:
            luma = rgb_to_y((output[0] * 255).clamp(0, 255).round().double().cpu())
        else:
            luma = (rgb_to_ycbcr(output)[0, :1].double().cpu() * 255).clamp(0, 255).round()
        border = slice(self._scale, -self._scale)
        return psnr(luma[:, border, border], self._luma[index][:, border, border])


def _middle(lr: Pixels, hr: Pixels, scale: int) -> tuple[Pixels, Pixels]:
    """The middle of an image, as small as SIDE."""
    sides = [min(length, SIDE // scale) for length in lr.shape[:2]]
    starts = [(length - side) // 2 for length, side in zip(lr.shape, sides, strict=False)]
    window, enlarged = (
        tuple(slice(start * by, (start + side) * by) for start, side in zip(starts, sides, strict=True))
        for by in (1, scale)
    )
    return lr[window], hr[enlarged]


def _values(image: Pixels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image).astype(np.float32)).permute(2, 0, 1)[None] / 255
