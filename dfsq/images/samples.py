"""Two photographs that come with scikit-learn."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from dfsq.errors import DfsqError
from dfsq.images.files import Image, read_image

NAMES = ("china", "flower")


def photograph(name: str) -> Image:
    """One of :data:`NAMES`, uint8 RGB ``(427, 640, 3)``. scikit-learn itself, which takes a second, is not imported.

    Raises :class:`DfsqError` where it is not installed.
    """
    spec = find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise DfsqError("scikit-learn is not installed, whose sample photographs are needed; pip install scikit-learn")
    return read_image(Path(spec.submodule_search_locations[0], "datasets", "images", f"{name}.jpg"))
