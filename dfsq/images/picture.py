"""Image files as they are, without loss: 8 or 16 bits, grey or colour, transparency, colour profile."""

from __future__ import annotations

import importlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageOps

from dfsq.errors import DfsqError, ImageError, UsageError
from dfsq.files import write_atomically
from dfsq.images.files import open_image

Pixels = NDArray[Any]
"""uint8 or uint16 ``(H, W, C)``; C is 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGB and alpha)."""
LOSSLESS: dict[str, dict[str, Any]] = {
    ".png": {},
    ".tif": {"compression": "tiff_adobe_deflate"},
    ".tiff": {"compression": "tiff_adobe_deflate"},
    ".bmp": {},
    ".webp": {"lossless": True, "exact": True},
}
"""Suffixes that a picture can be written with, and Pillow's options for that."""
_DEEP = (".png", ".tif", ".tiff")


@dataclass(frozen=True)
class Picture:
    """What an image file holds."""

    pixels: Pixels
    colour_profile: bytes | None = None
    """ICC profile; what the colours mean."""


def read_picture(path: Path) -> Picture:
    """Read an image file without reducing it to 8-bit RGB.

    Palettes become RGB, one-bit images grey, CMYK RGB; an orientation in EXIF is applied. Raises :class:`ImageError`
    for a file that cannot be read, and :class:`DfsqError` for 16-bit colour where OpenCV is not installed.
    """
    with open_image(path) as file:
        if file.mode == "F":
            raise ImageError(f"{path} holds floating-point values; convert it to 16 bits first")
        storage = str(file.tile)  # what Pillow's decoder is told, which reduces 16-bit colour to 8 bits
        if file.mode.startswith("I"):
            return Picture(np.clip(np.asarray(file), 0, 65535).astype(np.uint16)[:, :, None])
        if ";16" in storage:
            return Picture(_read_deep_colour(path, grey="LA;16" in storage))
        profile = None if file.mode == "CMYK" else file.info.get("icc_profile")
        image = ImageOps.exif_transpose(file)
        grey = image.mode in ("1", "L", "LA")
        alpha = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
        pixels = np.asarray(image.convert(("L" if grey else "RGB") + "A" * alpha))
        return Picture(pixels.reshape(*pixels.shape[:2], -1), profile)


def check_depth(path: Path, picture: Picture) -> None:
    """Raise :class:`UsageError` where the format of ``path`` has fewer bits than the picture."""
    if picture.pixels.dtype == np.uint16 and path.suffix.lower() not in _DEEP:
        raise UsageError(f"{path}: this format has 8 bits, the image 16; choose {', '.join(_DEEP)}")


def write_picture(path: Path, picture: Picture) -> None:
    """Write a picture in the format of the suffix, one of :data:`LOSSLESS`.

    Raises what :func:`check_depth` does, :class:`ImageError` for a size that the format cannot hold, and
    :class:`DfsqError` where ``path`` cannot be written.
    """
    check_depth(path, picture)
    suffix, pixels = path.suffix.lower(), picture.pixels
    if pixels.dtype == np.uint16 and pixels.shape[2] > 1:
        write_atomically(path, _deep_colour(suffix, pixels))
        return
    image = PillowImage.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if suffix == ".bmp" and image.mode == "LA":
        image = image.convert("RGBA")
    buffer, kind = io.BytesIO(), PillowImage.registered_extensions()[suffix]
    try:
        image.save(buffer, kind, icc_profile=picture.colour_profile, **LOSSLESS[suffix])
    except (OSError, ValueError) as error:
        size = f"{image.width}×{image.height}"
        raise ImageError(f"{path}: {suffix} cannot hold {size} pixels ({error}); choose .png") from error
    write_atomically(path, buffer.getvalue())


def _read_deep_colour(path: Path, grey: bool) -> Pixels:
    cv2 = _opencv(path)
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3 or pixels.dtype != np.uint16:
        raise ImageError(f"{path} is no readable image with 16 bits; convert it to a plain PNG first")
    pixels = _swap_red_and_blue(pixels)
    return np.ascontiguousarray(pixels[:, :, ::3] if grey else pixels)


def _deep_colour(suffix: str, pixels: Pixels) -> bytes:
    if pixels.shape[2] == 2:  # OpenCV has no grey with alpha
        pixels = pixels[:, :, [0, 0, 0, 1]]
    cv2 = _opencv("the image")
    _, encoded = cv2.imencode(suffix, np.ascontiguousarray(_swap_red_and_blue(pixels)))
    return bytes(encoded)


def _swap_red_and_blue(pixels: Pixels) -> Pixels:
    return pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]]


def _opencv(path: object) -> Any:
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise DfsqError(f"{path} has 16-bit colour, which needs OpenCV; pip install 'dfsq[images]'") from error
