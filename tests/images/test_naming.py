from pathlib import Path

import pytest

from dfsq.images.naming import output_names


@pytest.mark.parametrize(
    "sources, names",
    [
        ("a.png b.tif c.WEBP d.bmp", "a.png b.tif c.WEBP d.bmp"),
        ("a.jpg b.GIF c.jfif d.avif", "a.png b.png c.png d.png"),
        ("a.jpg a.png", "a.jpg.png a.png"),
        ("a.png a.jpg", "a.png a.jpg.png"),
        ("a.gif a.jpg", "a.gif.png a.jpg.png"),
        ("a.PNG a.jpg", "a.PNG a.jpg.png"),
        ("a.png a.jpg a.jpg.png", "a.png a.jpg-2.png a.jpg.png"),
        ("x/a.png y/a.png z/a.png", "a.png a-2.png a-3.png"),
        ("x/a.png y/A.png", "a.png A-2.png"),
        ("x/a.png y/a.png a-2.png", "a.png a-2.png a-2-2.png"),
        ("frame.0001 frame.0002 photo", "frame.0001.png frame.0002.png photo.png"),
    ],
)
def test_names_are_kept_or_become_png_and_differ(sources: str, names: str) -> None:
    found = output_names([Path(source) for source in sources.split()])
    assert found == names.split()
