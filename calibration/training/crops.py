"""Fresh crops for every step, turned and mirrored: which they are depends on seed and step alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from calibration.images import Image, listed
from calibration.progress import Progress
from calibration.training.identity import digest
from dfsq import distributed
from dfsq.errors import ImageError
from dfsq.evaluation.bicubic import downscale
from dfsq.images.picture import read_picture

MOST = 1000
"""Images that are held; of more, so many are drawn."""
SIDE = 512
"""Height and width that are held of an image, HR pixels: a thousand take less than 1 GB."""


@dataclass(frozen=True)
class Held:
    """A part of an image, uint8 ``(H, W, 3)``."""

    lr: Image
    hr: Image | None
    """None where images are LR."""


Place = tuple[Held, int, int]
"""An image, and top and left of a crop of it, LR pixels."""


class Crops:
    """Square crops of images, a batch for every step.

    All processes of a run have the same crops between them as one process alone. Where half of the images are smaller
    than a crop, crops are as large as these allow. Files that are unreadable, or smaller than a crop, are passed over
    and reported to ``on_skip``.
    """

    def __init__(
        self,
        sources: Sequence[str | Path | Image],
        *,
        scale: int,
        size: int,
        batch: int,
        seed: int,
        is_lr: bool,
        progress: Progress,
        on_skip: Callable[[str], None] = lambda _: None,
        device: torch.device | str = "cpu",
        candidates: int = 1,
    ) -> None:
        """``sources``: files, folders or arrays, HR unless ``is_lr``; ``size``: of a crop in LR pixels, at most;
        ``candidates``: of so many that are drawn, each crop is the one with the strongest edges.

        Raises :class:`UsageError` for paths that do not exist and :class:`ImageError` where no image can be used.
        """
        self.scale, self.batch, self.seed, self._device, self._candidates = scale, batch, seed, device, candidates
        found = listed(sources, on_skip)
        generator = np.random.default_rng(seed)
        drawn = np.sort(generator.permutation(len(found))[:MOST])
        if len(found) > MOST:
            on_skip(f"skipped: all but {MOST} of {len(found)} images")
        unit = 1 if is_lr else scale
        parts: list[tuple[str, Image]] = []
        for done, index in enumerate(drawn):
            progress("Reading images", done, len(drawn))
            offsets = generator.random(2)
            source = found[index]
            try:
                image = read_picture(source).rgb if isinstance(source, Path) else source
            except ImageError as error:
                on_skip(f"skipped: {error}")
                continue
            side = max(SIDE // scale if is_lr else SIDE // scale * scale, size * unit)
            parts.append((str(source) if isinstance(source, Path) else "image", _window(image, side, offsets)))
        progress("Reading images", len(drawn), len(drawn))
        sides = sorted(min(part.shape[:2]) for _, part in parts)
        self.size = min(size, sides[len(sides) // 2] // unit) if sides else size
        if not self.size or not sides:
            raise ImageError(f"none of the {len(found)} images is readable and at least {unit}×{unit}")
        if self.size < size:
            on_skip(f"crops are {self.size}×{self.size} instead of {size}×{size}: half of the images are smaller")
        least = self.size * unit
        for name, part in parts:
            if min(part.shape[:2]) < least:
                on_skip(f"skipped: {name} is {part.shape[1]}×{part.shape[0]}, smaller than {least}×{least}")
        large = (part for _, part in parts if min(part.shape[:2]) >= least)
        self.held = [Held(part, None) if is_lr else _pair(part, scale) for part in large]

    @property
    def has_hr(self) -> bool:
        """Whether there are HR images to aim at."""
        return self.held[0].hr is not None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all pixels that crops are cut from, hexadecimal."""
        return digest(image for each in self.held for image in (each.lr, each.hr) if image is not None)

    def of_step(self, step: int) -> tuple[Tensor, Tensor | None]:
        """This process's crops for ``step``: LR ``(n, 3, size, size)`` and HR, float32 in 0–1."""
        drawn = [self._drawn(step, index) for index in range(self.batch) if distributed.is_mine(index)]
        lr, hr = zip(*drawn, strict=True)
        return self._tensor(lr), None if hr[0] is None else self._tensor(hr)

    def _drawn(self, step: int, index: int) -> tuple[Image, Image | None]:
        generator = np.random.default_rng([self.seed, step, index])
        drawn = [self._place(generator) for _ in range(self._candidates)]
        held, top, left = max(drawn, key=self._edges)
        turns, mirrored = int(generator.integers(4)), bool(generator.integers(2))
        lr = _turned(_cut(held.lr, top, left, self.size), turns, mirrored)
        if held.hr is None:
            return lr, None
        scale = self.scale
        return lr, _turned(_cut(held.hr, top * scale, left * scale, self.size * scale), turns, mirrored)

    def _place(self, generator: np.random.Generator) -> Place:
        held = self.held[int(generator.integers(len(self.held)))]
        top, left = (int(generator.integers(side - self.size + 1)) for side in held.lr.shape[:2])
        return held, top, left

    def _edges(self, place: Place) -> int:
        """Squared differences of neighbours, of all colours together, in the LR crop there."""
        held, top, left = place
        grey = _cut(held.lr, top, left, self.size).sum(2, dtype=np.int64)
        return int(np.square(np.diff(grey, axis=0)).sum() + np.square(np.diff(grey, axis=1)).sum())

    def _tensor(self, images: Sequence[Image]) -> Tensor:
        return torch.from_numpy(np.stack(images)).to(self._device).permute(0, 3, 1, 2).float() / 255


def _window(image: Image, side: int, offsets: np.ndarray) -> Image:
    top, left = (
        int(offset * (max(0, length - side) + 1)) for offset, length in zip(offsets, image.shape, strict=False)
    )
    return image[top : top + side, left : left + side]


def _pair(image: Image, scale: int) -> Held:
    height, width = (length // scale * scale for length in image.shape[:2])
    hr = np.ascontiguousarray(image[:height, :width])
    return Held(downscale(hr, scale), hr)


def _cut(image: Image, top: int, left: int, side: int) -> Image:
    return image[top : top + side, left : left + side]


def _turned(image: Image, turns: int, mirrored: bool) -> Image:
    turned = np.rot90(image, turns)
    return np.fliplr(turned) if mirrored else turned
