"""Reading and writing images: whatever mode a file has, callers see uint8 RGB."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL.ImageFile import ImageFile

from dfsq.errors import ImageError
from dfsq.files import write_atomically

Image = NDArray[np.uint8]
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""File names that count as images, in lower case."""


def read_image(path: Path) -> Image:
    """Read an image file as uint8 RGB ``(H, W, 3)``.

    Grey, palette, CMYK and one-bit images are converted, transparency is dropped, 16 bits are reduced to 8. Raises
    :class:`ImageError` for a file that is missing, truncated, no image, or unreasonably large.
    """
    with open_image(path) as file:
        file.load()
        image: PillowImage.Image = file
        if image.mode.startswith("I"):
            # 16-bit grey, which Pillow would clip at 255; 257 maps 65535 to 255.
            grey = np.asarray(image).astype(np.float64) / 257
            return np.repeat(np.clip(np.rint(grey), 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
        if image.mode in ("P", "PA", "LA"):
            image = image.convert("RGBA")
        return np.asarray(image.convert("RGB"))


@contextmanager
def open_image(path: Path) -> Iterator[ImageFile]:
    """Open an image file for the body of a ``with``; what goes wrong there, too, is an :class:`ImageError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PillowImage.DecompressionBombWarning)
            with PillowImage.open(path) as file:
                yield file
    except (PillowImage.DecompressionBombError, PillowImage.DecompressionBombWarning) as error:
        raise ImageError(f"{path} is too large to be read safely; crop it first") from error
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"{path} is no readable image ({_first_line(error)}); remove or replace it") from error


def write_png(path: Path, image: Image) -> None:
    """Write uint8 RGB ``(H, W, 3)`` as a PNG file. Raises :class:`~dfsq.errors.DfsqError` where that is impossible."""
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


def list_images(folder: Path) -> list[Path]:
    """Image files directly in ``folder``, in natural order (img2 before img10)."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    return sorted(found, key=lambda path: _natural(path.name))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name.lower())]


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
