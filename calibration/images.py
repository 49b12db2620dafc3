"""Calibration patches: cut from files one at a time, so that memory does not grow with their number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfsq.errors import ImageError, UsageError
from dfsq.evaluation.bicubic import downscale
from dfsq.images.files import scan
from dfsq.images.opening import READABLE
from dfsq.images.picture import read_picture

BATCH = 8
"""Patches per forward pass."""
Image = NDArray[np.uint8]


class PatchStream:
    """Random LR patches of image files, as batches for a network.

    Iterating yields float32 ``(n, 3, p, p)`` in 0–1 with n ≤ 8 and p = patch_size / scale, ``patches`` in all. The same
    ``seed`` and files give the same patches. Files that are unreadable or smaller than a patch are passed over and
    reported to ``on_skip``, as are all frames of a file but the first and what else lies in a folder; when no image is
    left, :class:`ImageError` is raised.
    """

    def __init__(
        self,
        sources: Sequence[str | Path | Image],
        *,
        scale: int,
        patches: int = 32,
        patch_size: int = 192,
        seed: int = 0,
        is_lr: bool = False,
        on_skip: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``sources``: files, folders, or uint8 ``(H, W, 3)`` arrays; HR, downscaled here, unless ``is_lr``."""
        if patch_size < scale:
            raise UsageError(f"patch size {patch_size} is below the scale {scale}; choose at least {scale}")
        self.patches = patches
        self.patch = patch_size // scale
        """Height and width of an LR patch in pixels."""
        self.scale = scale
        self.seed = seed
        self.is_lr = is_lr
        self.on_skip = on_skip
        self.sources = listed(sources, on_skip)
        """Files and arrays that patches are cut from."""
        self._noted: set[Path] = set()
        self._digest = hashlib.sha256()

    def __iter__(self) -> Iterator[Tensor]:
        self._digest = hashlib.sha256()
        batch: list[Image] = []
        for patch in self._cut():
            self._digest.update(patch.tobytes())
            batch.append(patch)
            if len(batch) == BATCH:
                yield _to_tensor(batch)
                batch = []
        if batch:
            yield _to_tensor(batch)

    def over(self, sources: Sequence[str | Path | Image]) -> PatchStream:
        """As this one, from other images; what is passed over among them is not reported once more."""
        return PatchStream(
            sources,
            scale=self.scale,
            patches=self.patches,
            patch_size=self.patch * self.scale,
            seed=self.seed,
            is_lr=self.is_lr,
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the bytes of the patches of the last iteration, hexadecimal."""
        return self._digest.hexdigest()

    def _cut(self) -> Iterator[Image]:
        generator = np.random.default_rng(self.seed)
        pool = [self.sources[index] for index in generator.permutation(len(self.sources))]
        factor = 1 if self.is_lr else self.scale
        size = self.patch * factor
        position = 0
        for _ in range(self.patches):
            while (image := self._usable(pool[position % len(pool)], size)) is None:
                del pool[position % len(pool)]
                if not pool:
                    raise ImageError(
                        f"none of the {len(self.sources)} calibration images is readable and at least {size}×{size}; "
                        "use larger images or a smaller `patch_size`"
                    )
            position = (position + 1) % len(pool)
            top = int(generator.integers(image.shape[0] - size + 1))
            left = int(generator.integers(image.shape[1] - size + 1))
            crop = image[top : top + size, left : left + size]
            yield crop if factor == 1 else downscale(crop, factor)

    def _usable(self, source: Path | Image, size: int) -> Image | None:
        try:
            image = self._read(source) if isinstance(source, Path) else source
        except ImageError as error:
            self.on_skip(f"skipped: {error}")
            return None
        if min(image.shape[:2]) < size:
            where = source if isinstance(source, Path) else "image"
            self.on_skip(f"skipped: {where} is {image.shape[1]}×{image.shape[0]}, smaller than a {size}×{size} patch")
            return None
        return image

    def _read(self, path: Path) -> Image:
        picture = read_picture(path)
        if picture.frames > 1 and path not in self._noted:
            self._noted.add(path)  # once, for patches are cut from a file again and again
            self.on_skip(f"skipped: all of {path} but the first of its {picture.frames} frames or pages")
        return picture.rgb


def listed(sources: Sequence[str | Path | Image], on_skip: Callable[[str], None]) -> list[Path | Image]:
    """The images that ``sources`` name, folders by their content. Raises :class:`UsageError` and :class:`ImageError`
    where there are none."""
    found: list[Path | Image] = []
    for source in sources:
        if isinstance(source, np.ndarray):
            found.append(source)
        elif (path := Path(source)).is_dir():
            listing = scan(path)
            found += listing.images
            if listing.note:
                on_skip(listing.note)
        elif path.is_file():
            found.append(path)
        elif path.exists():
            raise UsageError(f"calibration path {source} is a pipe or device; name a file or a folder")
        else:
            raise UsageError(f"calibration path {source} does not exist")
    if not found:
        raise ImageError(f"no images in {', '.join(str(source) for source in sources)}; {READABLE}")
    return found


def describe(images: PatchStream | Iterable[Tensor]) -> dict[str, object]:
    """What an artifact says of the images that calibration saw: JSON types only."""
    if not isinstance(images, PatchStream):
        return {}
    return {"patches": images.patches, "patch": [images.patch, images.patch], "sha256": images.fingerprint}


def _to_tensor(batch: list[Image]) -> Tensor:
    return torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float() / 255
