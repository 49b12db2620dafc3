"""Images that no patches are cut from, on which a target is judged."""

from __future__ import annotations

import filecmp
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from calibration.images import Image, listed
from dfsq.errors import ImageError
from dfsq.evaluation.benchmarks import Benchmark, Pair
from dfsq.images.picture import read_picture

NAME = "images set aside"
MOST = 8
"""Images set aside: more take longer than their mean gets steadier."""
_FEWEST = 2
_SIDE = 512
"""Longest side of what is looked at of an image, HR pixels."""
_WINDOW = 11
"""Pixels that a score needs within the borders that are cropped."""


def set_aside(
    sources: Sequence[str | Path | Image],
    *,
    scale: int,
    patch_size: int = 192,
    seed: int = 0,
    is_lr: bool = False,
    on_skip: Callable[[str], None] = lambda _: None,
) -> tuple[list[Path | Image], Benchmark]:
    """Divide ``sources``: into those for a :class:`PatchStream`, whose parameters these are, and a set to judge by.

    A quarter of the images, 2…8 of them, drawn by ``seed``, is set aside whole; of each its middle counts, at most
    512×512. Of fewer than four images each is cut in two across its longer side: one half for patches, the other to
    judge by. A file that is there twice counts once. LR images serve as HR, shrunk once more. ``notes`` of the set say
    which of this was done. Raises :class:`UsageError` for paths that do not exist, and :class:`ImageError` where no
    image is readable and large enough.
    """
    files = listed(sources, on_skip)
    patch = patch_size // scale * (1 if is_lr else scale)
    least = max(patch, _WINDOW + 3 * scale)
    aside = min(MOST, max(_FEWEST, len(files) // 4))
    found: list[tuple[Path | Image, Image]] = []
    unusable: list[str] = []
    for each in _usable(files, seed, least, unusable.append):
        found.append(each)
        if len(found) == aside + _FEWEST:
            break
    if not found:
        raise ImageError(
            f"none of the {len(files)} calibration images is readable and at least {least}×{least}; use larger images "
            "or a smaller `patch_size`"
        )
    notes = ["calibration images are LR: those set aside serve as HR, shrunk once more"] if is_lr else []
    if len(found) < 2 * _FEWEST:
        for line in unusable:
            on_skip(line)  # else whoever cuts patches tells of it
        notes.insert(0, f"fewer than {2 * _FEWEST} images: patches from one half of each, the drop on the other")
        halves = [(source, *_halves(image)) for source, image in found if max(image.shape[:2]) // 2 >= least]
        if not halves:
            raise ImageError(
                f"calibration images are too few to set any aside whole, and too small for halves of {least}×{least}; "
                "give four or more, larger ones, or a smaller `patch_size`"
            )
        rest: list[Path | Image] = [half for _, half, _ in halves]
        chosen = [(source, half) for source, _, half in halves]
    else:
        chosen = found[:aside]
        notes.insert(0, f"{aside} of {len(files)} images, which no patches are cut from")
        rest = [each for each in files if not any(_is_same(each, other) for other, _ in chosen)]
    pairs = tuple(_pair(*each, index) for index, each in enumerate(chosen))
    return rest, Benchmark(NAME, scale, pairs, tuple(notes))


def _usable(
    files: Sequence[Path | Image], seed: int, least: int, on_skip: Callable[[str], None]
) -> Iterator[tuple[Path | Image, Image]]:
    """Different images that are readable and large enough, in an order drawn by ``seed``."""
    seen = set()
    for index in np.random.default_rng(seed).permutation(len(files)):
        source = files[index]
        try:
            image = read_picture(source).rgb if isinstance(source, Path) else source
        except ImageError as error:
            on_skip(f"skipped: {error}")
            continue
        digest = hashlib.sha256(image.tobytes()).digest()
        if min(image.shape[:2]) < least:
            where = source if isinstance(source, Path) else "image"
            on_skip(f"skipped: {where} is {image.shape[1]}×{image.shape[0]}, smaller than {least}×{least}")
        elif digest not in seen:
            seen.add(digest)
            yield source, image


def _halves(image: Image) -> tuple[Image, Image]:
    axis = int(image.shape[1] > image.shape[0])
    first, second = np.array_split(image, 2, axis)
    return first, second


def _pair(source: Path | Image, image: Image, index: int) -> Pair:
    top, left = ((side - min(side, _SIDE)) // 2 for side in image.shape[:2])
    name = source.name if isinstance(source, Path) else f"image {index + 1}"
    return Pair(name, np.ascontiguousarray(image[top : top + _SIDE, left : left + _SIDE]), None)


def _is_same(one: Path | Image, other: Path | Image) -> bool:
    if isinstance(one, Path) and isinstance(other, Path):
        return filecmp.cmp(one, other, shallow=False)
    return one is other or (not isinstance(one, Path) and not isinstance(other, Path) and np.array_equal(one, other))
