"""Pictures as files, and files as links that hold them."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from dfsq.images.picture import Pixels

_EFFORT = 4
"""Of 0 to 6; more takes several times as long and saves a few per cent."""


def lossless(image: Pixels) -> tuple[str, bytes]:
    """Media type and file of uint8 RGB ``(H, W, 3)``, with every pixel as it is."""
    if features.check("webp"):
        return "image/webp", _saved(Image.fromarray(image), "WEBP", lossless=True, quality=75, method=_EFFORT)
    return "image/png", png(image)


def lossy(image: Pixels) -> tuple[str, bytes]:
    """The same, in a fraction of the bytes, and close enough to look at."""
    if features.check("webp"):
        return "image/webp", _saved(Image.fromarray(image), "WEBP", quality=90, method=_EFFORT)
    return "image/jpeg", _saved(Image.fromarray(image), "JPEG", quality=92)


def png(image: Pixels) -> bytes:
    """uint8 RGB ``(H, W, 3)`` as PNG."""
    return _saved(Image.fromarray(image), "PNG", optimize=True)


def indexed(levels: NDArray[np.uint8], colours: NDArray[np.uint8]) -> bytes:
    """Indices ``(H, W)`` into RGB ``colours`` ``(N, 3)`` as PNG."""
    picture = Image.fromarray(np.ascontiguousarray(levels), "P")
    picture.putpalette(colours.tobytes())
    return _saved(picture, "PNG", optimize=True, bits=4 if len(colours) <= 16 else 8)


def data_link(kind: str, data: bytes) -> str:
    """``data`` of a media type as a link that holds it."""
    return f"data:{kind};base64,{b64encode(data).decode()}"


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
