"""Image files as 8-bit RGB, whatever they hold, and what counts as an image in a folder."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from dfsq.errors import ImageError
from dfsq.files import write_atomically
from dfsq.images.opening import IMAGE_SUFFIXES, is_image
from dfsq.images.picture import read_picture

Image = NDArray[np.uint8]
_STRAYS = ("thumbs.db", "desktop.ini")
"""What Windows leaves in folders; what others leave starts with a dot."""
_NAMED = 3
"""Entries that a note names."""


def read_image(path: Path) -> Image:
    """Read an image file as uint8 RGB ``(H, W, 3)``: :func:`~dfsq.images.picture.read_picture` in 8 bits.

    Raises :class:`ImageError` where that does.
    """
    return read_picture(path).rgb


def write_png(path: Path, image: Image) -> None:
    """Write uint8 RGB ``(H, W, 3)`` as a PNG file. Raises :class:`~dfsq.errors.DfsqError` where that is impossible."""
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


@dataclass(frozen=True)
class Listing:
    """The images directly in a folder, and what else is there."""

    folder: Path
    images: tuple[Path, ...]
    """In natural order: img2 before img10."""
    others: tuple[str, ...]
    """Names of folders (with a slash) and of files that are no images; strays of operating systems left out."""

    @property
    def note(self) -> str | None:
        """One line on what was passed over, if anything was."""
        count = len(self.others)
        return f"{self.folder}: passed over {count} that are no images: {named(self.others)}" if count else None


def named(names: Sequence[str]) -> str:
    """The first few of many names, for a note."""
    return ", ".join(names[:_NAMED]) + ", …" * (len(names) > _NAMED)


def scan(folder: Path) -> Listing:
    """Tell the images in ``folder`` from the rest, by name or, where that says nothing, by content.

    A name that promises an image counts as one even where the file is damaged, so that nothing goes missing in silence.
    Raises :class:`ImageError` for a folder that cannot be read.
    """
    try:
        paths = [folder / name for name in sorted(os.listdir(folder), key=natural_order)]
    except OSError as error:
        raise ImageError(f"cannot read the folder {folder}: {error.strerror or error}") from error
    images, others = [], []
    for path in paths:
        if path.name.startswith(".") or path.name.lower() in _STRAYS:
            continue
        if path.is_dir():
            others.append(f"{path.name}/")
        elif path.suffix.lower() in IMAGE_SUFFIXES or is_image(path):
            images.append(path)
        else:
            others.append(path.name)
    return Listing(folder, tuple(images), tuple(others))


def list_images(folder: Path) -> list[Path]:
    """Images directly in ``folder`` as :func:`scan` finds them."""
    return list(scan(folder).images)


def natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sorting key of a name: numbers by value, case only where nothing else differs."""
    parts = re.split("([0-9]+)", name.lower())  # other digits, as ² and ٣, are letters here
    return [(int(part), "") if index % 2 else (-1, part) for index, part in enumerate(parts)], name
