"""What an upscaled image is called: its own name where the format keeps every pixel, PNG otherwise; no name twice.

A video keeps its name where such files are written, and becomes Matroska otherwise, which holds any audio.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from dfsq.images.opening import IMAGE_SUFFIXES
from dfsq.images.picture import LOSSLESS
from dfsq.images.video import is_video
from dfsq.images.video_writer import CONTAINERS


def output_names(sources: Sequence[Path]) -> list[str]:
    """File names for what is made of ``sources``, all different, also where case does not count.

    ``a.png`` stays ``a.png``, ``a.jpg`` becomes ``a.png``. Where both are there, or ``a.gif`` as well, what becomes PNG
    keeps its suffix: ``a.jpg.png``. What is still called alike, as from several folders, gets a number: ``a-2.png``.
    """
    plain = [_lossless_name(source, source.stem) for source in sources]
    often = Counter(name.lower() for name in plain)
    names: dict[int, str] = {}
    taken: set[str] = set()
    # Those that keep their names come first, so that no other takes one.
    for index in sorted(range(len(sources)), key=lambda index: plain[index] != sources[index].name):
        name = plain[index]
        if often[name.lower()] > 1:
            name = _lossless_name(sources[index], sources[index].name)
        stem, suffix = Path(name).stem, Path(name).suffix
        numbered = (f"{stem}-{number}{suffix}" for number in count(2))
        while name.lower() in taken:
            name = next(numbered)
        taken.add(name.lower())
        names[index] = name
    return [names[index] for index in range(len(sources))]


def _lossless_name(source: Path, stem: str) -> str:
    suffix = source.suffix.lower()
    if suffix in LOSSLESS or suffix in CONTAINERS:
        return source.name
    if is_video(source):
        return f"{stem}.mkv"
    return f"{stem if suffix in IMAGE_SUFFIXES else source.name}.png"
