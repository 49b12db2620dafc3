"""Image files as they are, without loss: 8 or 16 bits, grey or colour, transparency, colour profile."""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL.ImageFile import ImageFile

from dfsq.errors import ImageError, UsageError
from dfsq.files import write_atomically
from dfsq.images.opening import count_frames, open_image

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
_DEEP_SUFFIXES = (".png", ".tif", ".tiff")
_DEEP = re.compile(r";16|'RGB', 65535")
"""What Pillow's decoder is told where it keeps 8 of 16 bits of colour."""
_ORIENTATION, _PHOTOMETRIC = 274, 262
_TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels.swapaxes(0, 1)[::-1, ::-1],
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}
"""How pixels are turned upright, by EXIF's orientation."""


@dataclass(frozen=True)
class Picture:
    """What an image file holds."""

    pixels: Pixels
    colour_profile: bytes | None = None
    """ICC profile; what the colours mean."""
    frames: int = 1
    """Frames or pages of the file; the pixels are those of the first."""

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """The picture as uint8 RGB ``(H, W, 3)``: grey repeated, transparency dropped, 16 bits rounded to 8."""
        channels = self.pixels.shape[2]
        pixels = self.pixels[:, :, [0, 0, 0] if channels < 3 else [0, 1, 2]]
        # 257 maps 65535 to 255; the 128 rounds, for no quotient lies halfway.
        return pixels if pixels.dtype == np.uint8 else ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def read_picture(path: Path) -> Picture:
    """Read an image file without reducing it to 8-bit RGB; of several frames or pages the first.

    Palettes become RGB, one-bit images grey, CMYK and LAB RGB; an orientation in EXIF is applied; a colour profile of
    other channels than the file's is dropped. Raises :class:`ImageError` for a file that cannot be read, that holds
    floating-point values or integers of more than 16 bits, and for 16-bit colour where OpenCV is not installed.
    """
    with open_image(path) as file:
        frames = count_frames(file)
        if frames > 1:
            file.seek(0)  # counting may have moved
        # What Pillow's decoder is told tells of the bits of which it keeps 8, and is gone after loading.
        storage = str(file.tile)
        file.load()
        _check_values(path, file, storage)
        deep = file.mode in ("RGB", "RGBA", "LA") and _DEEP.search(storage)
        pixels = _read_deep_colour(path, file, grey="LA;16" in storage) if deep else _pixels(file)
        # A TIFF is turned by its decoder, Pillow's and OpenCV's alike, and has no orientation left.
        turn = _TURNS.get(file.getexif().get(_ORIENTATION, 1), _TURNS[1])
        profile = _fitting(file.info.get("icc_profile"), file.mode, pixels.shape[2])
        return Picture(np.ascontiguousarray(turn(pixels)), profile, frames)


def _check_values(path: Path, file: ImageFile, storage: str) -> None:
    """Refuse values that 8 or 16 bits cannot hold, and 16-bit ones whose meaning the decoders pass over."""
    inverted = file.mode.startswith("I;16") and getattr(file, "tag_v2", {}).get(_PHOTOMETRIC) == 0
    kind = (
        "floating-point values"
        if file.mode == "F"
        else "integers of 32 bits or with a sign"
        if file.mode == "I" and file.format != "PPM"
        else "12-bit or inverted grey"
        if inverted or "I;12" in storage
        else "16-bit colour multiplied by its transparency"
        if "RGBa;16" in storage
        else None
    )
    if kind:
        raise ImageError(f"{path} holds {kind}; convert it to 8 or 16 bits first")


def _pixels(image: PillowImage.Image) -> Pixels:
    """Pixels of a loaded image as :data:`Pixels`, whatever its mode."""
    if image.mode.startswith("I"):
        grey = np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
        transparent = image.info.get("transparency")
        alpha = [] if transparent is None else [np.where(grey == transparent, 0, 65535).astype(np.uint16)]
        return np.dstack([grey, *alpha])
    mode = ("L" if image.mode in ("1", "L", "LA", "La") else "RGB") + "A" * image.has_transparency_data
    pixels = np.asarray(image.convert(mode))
    return pixels.reshape(*pixels.shape[:2], -1)


def _fitting(profile: bytes | None, mode: str, channels: int) -> bytes | None:
    """The ICC profile, where its colour space is that of the pixels and was that of the file."""
    space = b"GRAY" if channels < 3 else b"RGB "
    return profile if profile and mode not in ("CMYK", "LAB") and profile[16:20] == space else None


def check_depth(path: Path, picture: Picture) -> None:
    """Raise :class:`UsageError` where the format of ``path`` has fewer bits than the picture."""
    if picture.pixels.dtype == np.uint16 and path.suffix.lower() not in _DEEP_SUFFIXES:
        raise UsageError(f"{path}: this format has 8 bits, the image 16; choose {', '.join(_DEEP_SUFFIXES)}")


def write_picture(path: Path, picture: Picture) -> None:
    """Write a picture in the format of the suffix, one of :data:`LOSSLESS`.

    Raises what :func:`check_depth` does, :class:`ImageError` for a size that the format cannot hold, and
    :class:`~dfsq.errors.DfsqError` where ``path`` cannot be written.
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


def _read_deep_colour(path: Path, file: ImageFile, grey: bool) -> Pixels:
    cv2 = _opencv(path)
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3 or pixels.dtype != np.uint16:
        raise ImageError(f"{path} is no readable image with 16 bits; convert it to a plain PNG first")
    pixels = _swap_red_and_blue(pixels)
    # A fourth channel that is no transparency is nothing.
    return pixels[:, :, ::3] if grey else pixels[:, :, : 3 + file.has_transparency_data]


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
        raise ImageError(f"{path} has 16-bit colour, which needs OpenCV; pip install 'dfsq[images]'") from error
