"""What an evaluation finds. Plain data without torch, so that reports and gates start fast."""

from __future__ import annotations

from dataclasses import dataclass, fields
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
