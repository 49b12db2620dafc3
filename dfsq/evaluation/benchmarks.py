"""Benchmark sets: pairs of HR and LR images, from folders as people have them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dfsq.errors import ImageError, LayoutError, UsageError
from dfsq.evaluation import pairing
from dfsq.evaluation.layouts import beside, set_folders
from dfsq.images.files import named, read_image, scan
from dfsq.images.opening import READABLE, frames

Image = NDArray[Any]


@dataclass(frozen=True)
class Pair:
    """One HR image and, where the set has it, its LR image; read when asked for."""

    name: str
    hr: Path | Image
    lr: Path | None

    def read(self, scale: int) -> tuple[Image, Image]:
        """LR ``(h, w, 3)`` and HR ``(scale·h, scale·w, 3)``, uint8 RGB.

        HR loses the rows and columns beyond a multiple of ``scale``; LR is made by MATLAB bicubic where there is none.
        Raises :class:`ImageError` where the two sizes do not belong together.
        """
        from dfsq.evaluation.bicubic import downscale  # needs torch, which finding sets does not

        hr = read_image(self.hr) if isinstance(self.hr, Path) else self.hr
        height, width = hr.shape[0] // scale, hr.shape[1] // scale
        lr = downscale(hr, scale) if self.lr is None else read_image(self.lr)
        if lr.shape[:2] != (height, width):
            raise ImageError(
                f"{self.name}: HR is {hr.shape[1]}×{hr.shape[0]} and LR {lr.shape[1]}×{lr.shape[0]}; at ×{scale} LR "
                f"must be {width}×{height}: check the scale and the folders"
            )
        return lr, hr[: height * scale, : width * scale]


@dataclass(frozen=True)
class Benchmark:
    """A named set of pairs at one scale."""

    name: str
    scale: int
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()
    """What a user should know of the folders, a line each."""

    @property
    def lr_supplied(self) -> bool:
        """Whether the LR images come with the set."""
        return all(pair.lr is not None for pair in self.pairs)


def find(root: Path, name: str, scale: int) -> Benchmark:
    """The set ``name`` in ``root`` in any layout of :mod:`dfsq.evaluation.layouts`; case does not matter.

    Raises :class:`UsageError` for an unknown set, with the sets that are there, :class:`LayoutError` where it is not
    clear which LR images are meant, and :class:`ImageError` for a set without images at ``scale``, or with images that
    cannot be read or have no partner.
    """
    folders = {each.name.lower(): each for each in set_folders(root, scale)}
    folder = folders.get(name.lower()) or folders.get(name.lower().removesuffix("_hr"))
    if folder is not None:
        return Benchmark(folder.name, scale, *_pairs(folder.hr, folder.lr_at(scale), scale))
    known = [each.name for each in set_folders(root)]
    if name.lower() in map(str.lower, known):
        raise ImageError(f"no images at ×{scale} in the set {name} of {root}; its folders are for other scales")
    there = ", ".join(known) or "no folder with images"
    raise UsageError(f"no set {name!r} in {root}; it has {there}; `dfsq data {root}` tells more")


def find_all(root: Path, names: Iterable[str], scale: int) -> list[Benchmark]:
    """The sets called ``names``, each once, or all that are there. Raises what :func:`find` does."""
    found = (find(root, name, scale) for name in list(names) or available(root))
    return list({each.name: each for each in found}.values())


def available(root: Path) -> list[str]:
    """Names of the sets in ``root``. Raises :class:`UsageError` where there is none."""
    names = [each.name for each in set_folders(root)]
    if not names:
        raise UsageError(f"no benchmark set in {root}; a set is a folder of images, or one with HR or GTmod12 in it")
    return names


def from_folders(hr: Path, lr: Path | None, scale: int) -> Benchmark:
    """A set of the images in ``hr``, with those of the same name in ``lr`` or MATLAB bicubic; named after the folder.

    Raises :class:`UsageError` for a folder that does not exist, :class:`LayoutError` where there are LR images beside
    ``hr`` and ``lr`` is None, and :class:`ImageError` as :func:`find` does.
    """
    for folder in (hr, lr):
        if folder is not None and not folder.is_dir():
            raise UsageError(f"{folder} is not a folder; name the folder that holds the images")
    if lr is None and (unused := beside(hr, scale)):
        raise LayoutError(f"{unused} belongs to {hr} and would not be used", hr, unused)
    return Benchmark(hr.resolve().name, scale, *_pairs(hr, lr, scale))


def _pairs(hr: Path, lr: Path | None, scale: int) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """The pairs of two folders, and notes on what was passed over."""
    listings = [scan(hr), *([] if lr is None or lr.samefile(hr) else [scan(lr)])]
    if lr is not None:  # which may lie in the folder of HR
        used = {f"{each.name}/" for each in (lr, *lr.parents)}
        listings[0] = replace(listings[0], others=tuple(each for each in listings[0].others if each not in used))
    notes = [listing.note for listing in listings if listing.note]
    if len(listings) == 2:
        hr_images, lr_images = list(listings[0].images), list(listings[1].images)
    else:
        hr_images, lr_images = pairing.split(listings[0].images, scale)
    if not hr_images:
        raise ImageError(f"no images at ×{scale} in {hr}; {READABLE}")
    if lr is not None and not lr_images:
        raise ImageError(f"no LR images at ×{scale} in {lr}; {READABLE}")
    if lr_images:
        pairs = [Pair(each.name, each.hr, each.lr) for each in pairing.match(hr_images, lr_images, scale)]
    else:
        pairs = [Pair(name, path, None) for name, path in zip(pairing.names(hr_images, scale), hr_images, strict=True)]
    paired = {pair.lr for pair in pairs}
    alone = [path.name for path in lr_images if path not in paired]
    if alone:
        notes.append(f"{lr or hr}: passed over {len(alone)} without an HR image: {named(alone)}")
    for path in (*hr_images, *(path for path in lr_images if path in paired)):
        if (several := frames(path)) > 1:
            notes.append(f"{path}: the first of {several} frames or pages")
    return tuple(pairs), tuple(notes)
