"""Benchmark folders: which HR image belongs to which LR image, in the layouts that people have on disk.

========================  ==================  ============================
layout                    HR                  LR at scale s
========================  ==================  ============================
EDSR-PyTorch              HR/NAME             LR_bicubic/Xs/NAMExs
BasicSR                   GTmod12/NAME        LRbicxs/NAME
SelfExSR                  image_SRF_s/NAME_SRF_s_HR, …_LR in the same folder
plain                     the folder itself   made by MATLAB bicubic
========================  ==================  ============================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dfsq.errors import ImageError, UsageError
from dfsq.evaluation.bicubic import downscale
from dfsq.images.files import list_images, read_image

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

    @property
    def lr_supplied(self) -> bool:
        """Whether the LR images come with the set."""
        return all(pair.lr is not None for pair in self.pairs)


def find(root: Path, name: str, scale: int) -> Benchmark:
    """The set ``name`` below ``root`` (or ``root/benchmark``) in any known layout; case does not matter.

    Raises :class:`UsageError` for an unknown set, with the sets that are there, and :class:`ImageError` for a set
    without images or with LR images missing.
    """
    folders = _set_folders(root)
    key = {each.lower(): each for each in folders}.get(name.lower())
    if key is None:
        known = f"it has {', '.join(folders)}" if folders else "it has no folder with images"
        raise UsageError(f"no set {name!r} in {root}; {known}")
    hr, lr, pattern = _layout(folders[key], scale)
    return Benchmark(key, scale, _pairs(hr, lr, pattern, scale))


def available(root: Path) -> list[str]:
    """Names of the sets below ``root``, or ``root/benchmark``. Raises :class:`UsageError` where there is none."""
    names = list(_set_folders(root))
    if not names:
        raise UsageError(f"no benchmark set in {root}; a set is a folder of images, or one with HR or GTmod12 in it")
    return names


def from_folders(hr: Path, lr: Path | None, scale: int) -> Benchmark:
    """A set of the images in ``hr``, with those of the same name in ``lr`` or MATLAB bicubic; named after the folder.

    Raises :class:`UsageError` for a folder that does not exist and :class:`ImageError` as :func:`find` does.
    """
    for folder in (hr, lr):
        if folder is not None and not folder.is_dir():
            raise UsageError(f"{folder} is not a folder; name the folder that holds the images")
    return Benchmark(hr.resolve().name, scale, _pairs(hr, lr, "", scale))


def _set_folders(root: Path) -> Mapping[str, Path]:
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder; --data names the folder that holds the benchmark sets")
    found: dict[str, Path] = {}
    for parent in (root, root / "benchmark"):
        if parent.is_dir():
            for folder in sorted(path for path in parent.iterdir() if path.is_dir()):
                if _is_set(folder):
                    found.setdefault(folder.name, folder)
    return found


def _is_set(folder: Path) -> bool:
    if (folder / "HR").is_dir() or (folder / "GTmod12").is_dir():
        return True
    return bool(list_images(folder)) or any(folder.glob("image_SRF_*"))


def _layout(folder: Path, scale: int) -> tuple[Path, Path | None, str]:
    """HR folder, LR folder if there is one, and the mark that HR names end with."""
    if (folder / "HR").is_dir():
        return folder / "HR", _existing(folder / "LR_bicubic" / f"X{scale}"), ""
    if (folder / "GTmod12").is_dir():
        return folder / "GTmod12", _existing(folder / f"LRbicx{scale}"), ""
    self_ex = folder / f"image_SRF_{scale}"
    if self_ex.is_dir():
        return self_ex, self_ex, f"_SRF_{scale}_HR"
    return folder, None, ""


def _existing(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None


def _pairs(hr: Path, lr: Path | None, mark: str, scale: int) -> tuple[Pair, ...]:
    lr_images = {path.stem: path for path in list_images(lr)} if lr is not None else {}
    pairs = []
    for path in list_images(hr):
        if not path.stem.endswith(mark):
            continue
        name = path.stem.removesuffix(mark)
        candidates = (f"{name}_SRF_{scale}_LR",) if mark else (f"{name}x{scale}", name)
        partner = next((lr_images[each] for each in candidates if each in lr_images), None)
        if lr is not None and partner is None:
            raise ImageError(f"no LR image for {path} in {lr}; it would be called {candidates[-1]}{path.suffix}")
        pairs.append(Pair(name, path, partner))
    if not pairs:
        raise ImageError(f"no images at ×{scale} in {hr}; PNG, JPEG, BMP, TIFF and WebP files are read")
    return tuple(pairs)
