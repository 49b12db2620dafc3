"""Picture strips: where two models differ most, the same detail side by side."""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw

from dfsq.evaluation.bicubic import upscale
from dfsq.printable import printable

Image = NDArray[Any]
DETAIL = 96
"""Height and width of a detail in pixels."""
GAIN = 8
"""How much the difference picture exaggerates."""


@dataclass(frozen=True)
class Strip:
    """One image in several versions: captions and PNG files, the whole image first, then its detail."""

    title: str
    pictures: tuple[tuple[str, bytes], ...]

    @property
    def caption(self) -> str:
        """Which image."""
        return self.title

    def html(self) -> str:
        """All versions beside each other."""
        figures = (
            f'<figure><img alt="{escape(printable(caption))}" height={2 * DETAIL} src="{data_link(data)}">'
            f"<figcaption>{escape(printable(caption))}</figcaption></figure>"
            for caption, data in self.pictures
        )
        return f"<div class=strip>{''.join(figures)}</div>"


def strip(title: str, lr: Image, hr: Image, first: Image, second: Image, captions: tuple[str, str]) -> Strip:
    """Compare the results ``first`` and ``second`` of two models: uint8 RGB ``(H, W, 3)`` like ``hr``.

    The detail is the square in which the two differ most.
    """
    difference = first.astype(np.int16) - second.astype(np.int16)
    top, left, size = _largest(np.abs(difference).sum(2))
    window = (slice(top, top + size), slice(left, left + size))
    exaggerated = np.clip(128 + GAIN * difference, 0, 255).astype(np.uint8)
    bicubic = upscale(lr, hr.shape[0] // lr.shape[0])
    pictures = [("HR, detail marked", _marked(hr, top, left, size))]
    versions = (("HR", hr), ("bicubic", bicubic), (captions[0], first), (captions[1], second))
    pictures += [(caption, png(image[window])) for caption, image in versions]
    pictures.append((f"difference ×{GAIN}", png(exaggerated[window])))
    return Strip(title, tuple(pictures))


def data_link(data: bytes, kind: str = "image/png") -> str:
    """``data`` as a link that holds it."""
    return f"data:{kind};base64,{b64encode(data).decode()}"


def png(image: Image) -> bytes:
    """Encode uint8 RGB ``(H, W, 3)`` as PNG."""
    buffer = io.BytesIO()
    PillowImage.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _largest(error: NDArray[Any]) -> tuple[int, int, int]:
    """Top, left and size of the window with the largest sum, from an integral image on a grid of eight pixels."""
    size = min(DETAIL, *error.shape)
    total = np.pad(error.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]
    row, column = np.unravel_index(sums[::8, ::8].argmax(), sums[::8, ::8].shape)
    return int(row) * 8, int(column) * 8, size


def _marked(image: Image, top: int, left: int, size: int) -> bytes:
    """The whole image at the height of a detail picture, with a frame around the detail."""
    picture = PillowImage.fromarray(np.ascontiguousarray(image))
    frame = (left, top, left + size - 1, top + size - 1)
    width = max(2, image.shape[0] // 150)
    ImageDraw.Draw(picture).rectangle(frame, outline=(255, 64, 64), width=width)
    height = 2 * DETAIL
    return png(
        np.asarray(
            picture.resize((round(height * image.shape[1] / image.shape[0]), height), PillowImage.Resampling.LANCZOS)
        )
    )
