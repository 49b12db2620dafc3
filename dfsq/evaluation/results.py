"""What an evaluation finds. Plain data without torch, so that reports and gates start fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from statistics import fmean


@dataclass(frozen=True)
class Scores:
    """Scores of one image, or means over a set. PSNR in dB, infinite for identical images; SSIM in −1…1."""

    psnr_y: float
    ssim_y: float
    psnr_rgb: float
    ssim_rgb: float


@dataclass(frozen=True)
class ImageResult:
    """Scores of one image."""

    name: str
    scores: Scores
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Scores by other metrics that were asked for, by name."""


@dataclass(frozen=True)
class SetResult:
    """Scores of one model on one benchmark set."""

    name: str
    scale: int
    lr_supplied: bool
    """Whether the LR images came with the set; otherwise they were made by MATLAB bicubic."""
    images: tuple[ImageResult, ...]

    @property
    def lr(self) -> str:
        """Where the LR images come from, for reports: ``supplied`` or ``bicubic``."""
        return "supplied" if self.lr_supplied else "bicubic"

    @property
    def mean(self) -> Scores:
        """Mean of every score over the images."""
        return Scores(*(fmean(getattr(image.scores, each.name) for image in self.images) for each in fields(Scores)))

    @property
    def metrics(self) -> dict[str, float]:
        """Mean of every other metric over the images, of those that all images have."""
        names = [name for name in self.images[0].metrics if all(name in image.metrics for image in self.images)]
        return {name: fmean(image.metrics[name] for image in self.images) for name in names}
