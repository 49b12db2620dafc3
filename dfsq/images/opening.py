"""Opening image files: which formats are meant, and how everything that is wrong with a file becomes one line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image as PillowImage
from PIL import UnidentifiedImageError
from PIL.ImageFile import ImageFile

from dfsq.errors import DfsqError, ImageError

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "AVIF", "JPEG2000", "PPM")
"""Formats that are told by a file's content, whatever its name; Pillow's names. Nothing else is handed to a decoder."""
_NAMED_FORMATS = {".tga": "TGA"}
"""Formats without a mark of their own, by the suffix that tells them."""
IMAGE_SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".avif"),
    *(".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga"),
)
"""File names that promise an image, in lower case."""
READABLE = "PNG, JPEG, TIFF, WebP, BMP, GIF, AVIF, JPEG 2000, PNM and TGA files are read"


@contextmanager
def open_image(path: Path) -> Iterator[ImageFile]:
    """Open an image file for the body of a ``with``; what goes wrong there, too, is an :class:`ImageError`.

    What is no regular file is refused unopened, for a pipe without a writer never answers.
    """
    if not path.exists():
        raise ImageError(f"{path} does not exist")
    if not path.is_file():
        raise ImageError(f"{path} is {'a folder' if path.is_dir() else 'a pipe or a device'}; name an image file")
    named = _NAMED_FORMATS.get(path.suffix.lower())
    formats = (*FORMATS, *((named,) if named else ()))
    try:
        # By a stream, for what Pillow opens by name it may map into memory, where it garbles TIFFs on their side.
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", PillowImage.DecompressionBombWarning)
            with PillowImage.open(stream, formats=formats) as file:
                yield file
    except (DfsqError, MemoryError):
        raise
    except (PillowImage.DecompressionBombError, PillowImage.DecompressionBombWarning) as error:
        raise ImageError(f"{path} is too large to be read safely; crop it first") from error
    except UnidentifiedImageError:
        raise ImageError(f"{path} is no readable image ({_why_unknown(path)}); remove or replace it") from None
    except Exception as error:  # what Pillow raises for a damaged file differs between formats
        raise ImageError(f"{path} is no readable image ({_first_line(error)}); remove or replace it") from error


def is_image(path: Path) -> bool:
    """Whether a regular file starts as an image does, whatever it is called."""
    try:
        with open_image(path):
            return True
    except ImageError:
        return False


def frames(path: Path) -> int:
    """How many frames or pages an image file has. Raises :class:`ImageError` where it is no image."""
    with open_image(path) as file:
        return count_frames(file)


def count_frames(file: ImageFile) -> int:
    """How many frames or pages an open file has; what a phone appends to a photograph is none."""
    return 1 if file.format == "MPO" else int(getattr(file, "n_frames", 1))


def _why_unknown(path: Path) -> str:
    """What can be said about a file that no decoder knows."""
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        return "it is empty"
    if start in (b"II*\0", b"MM\0*"):
        return "a TIFF of a kind that is not read, as with floating-point colour; convert it to 8 or 16 bits"
    return READABLE


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
