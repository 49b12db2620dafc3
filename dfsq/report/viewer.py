"""Images before and after quantization, pixel for pixel, with what changed and by how much.

Without a script, and on paper, all versions of an image stand beside each other. ``page.js`` lays them over each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from dfsq.printable import printable
from dfsq.report.compared import Compared, busiest, luma_error
from dfsq.report.encoding import data_link, lossless, lossy
from dfsq.report.error_map import STEPS, colours, error_map, halved, scale_end
from dfsq.report.report import shown

_LEAST = 96
"""Height and width of the smallest part of an image that is worth showing."""
_MOST = 1200
"""Of the largest part: it fits only where it is almost flat, and what is larger takes seconds to find that out."""
_AROUND = 100
"""Bytes of what is around all of them."""
_SHRINK = 0.94
"""How much is left for a part of an image of what its bytes per pixel promise; they are not the same everywhere."""


@dataclass(frozen=True)
class Shot:
    """One image, or the part of it that fits, in all versions: links and captions."""

    title: str
    note: str
    height: int
    width: int
    versions: tuple[tuple[str, str, str], ...]
    """What it is (``before``, ``after``, ``hr``, ``change``, ``error-before``, ``error-after``), caption and link."""
    scales: tuple[tuple[str, float], ...]
    """For which maps a scale holds, and its end in levels of luma."""

    @property
    def length(self) -> int:
        """Bytes in the page."""
        return len(_html(self).encode())


@dataclass(frozen=True)
class Viewer:
    """The images that lost most, the worst first, of as many as there is room for."""

    images: Sequence[Compared]
    names: tuple[str, str]
    """Of the two models."""
    caption: str = ""

    def html_within(self, room: int) -> str:
        """All images, each whole or the part that differs most, in ``room`` bytes."""
        shots: dict[int, Shot] = {}
        smallest_first = sorted(range(len(self.images)), key=lambda index: self.images[index].hr.size)
        for done, index in enumerate(smallest_first):  # what they leave is for those that do not fit
            shot = _fitted(self.images[index], self.names, (room - _AROUND) // (len(self.images) - done))
            if shot is not None:
                shots[index] = shot
                room -= shot.length
        return f'<div class="viewer">{"".join(_html(shots[index]) for index in sorted(shots))}</div>' if shots else ""


def _fitted(image: Compared, names: tuple[str, str], room: int) -> Shot | None:
    """``image`` whole where it fits into ``room`` bytes, else the largest part that does; None where none does."""
    error = luma_error(image.first, image.second)
    height, width = (min(size, _MOST) for size in error.shape)
    while True:
        shot = _cropped(image, names, busiest(error, height, width))
        if shot.length <= room:
            return shot
        factor = _SHRINK * (room / shot.length) ** 0.5
        height, width = (int(size * factor) // 8 * 8 for size in (shot.height, shot.width))
        if min(height, width) < _LEAST:
            return None


def _cropped(image: Compared, names: tuple[str, str], window: tuple[slice, slice]) -> Shot:
    hr, first, second = (each[window] for each in (image.hr, image.first, image.second))
    height, width = hr.shape[:2]
    scores = [f"{name}, {shown(score.psnr_y, 2)} dB" for name, score in zip(names, image.scores, strict=True)]
    end = scale_end(*(halved(luma_error(hr, each)) for each in (first, second)))
    changed = error_map(first, second)
    maps = {
        "change": (f"|{names[0]} − {names[1]}|", changed),
        "error-before": (f"|HR − {names[0]}|", error_map(hr, first, end)),
        "error-after": (f"|HR − {names[1]}|", error_map(hr, second, end)),
    }
    versions = [
        ("before", scores[0], *lossless(first)),
        ("after", scores[1], *lossless(second)),
        ("hr", "HR", *lossy(hr)),
    ]
    versions += [(kind, caption, "image/png", each.png) for kind, (caption, each) in maps.items()]
    whole = hr.shape == image.hr.shape
    part = f"The {width}×{height} pixels of {image.hr.shape[1]}×{image.hr.shape[0]} in which the two differ most."
    return Shot(
        f"{image.set_name}: {image.name}, drop {shown(image.drop, 3)} dB",
        "" if whole else part,
        height,
        width,
        tuple((kind, caption, data_link(media, data)) for kind, caption, media, data in versions),
        (("change", changed.end), ("error", end)),
    )


def _html(shot: Shot) -> str:
    note = f"<p class=note>{_text(shot.note)}</p>" if shot.note else ""
    return (
        f'<article class="shot" data-width="{shot.width}" data-height="{shot.height}">'
        f"<h3>{_text(shot.title)}</h3>{note}"
        f'<div class="frame"><div class="stage"><div class="layers">{"".join(_versions(shot))}</div></div></div>'
        f"{''.join(_scale(kind, end) for kind, end in shot.scales)}</article>"
    )


def _versions(shot: Shot) -> Iterator[str]:
    for kind, caption, link in shot.versions:
        told = _text(f"{shot.title}: {caption}")
        yield (
            f'<figure class="version {kind}">'
            f'<img alt="{told}" width="{shot.width}" height="{shot.height}" src="{link}">'
            f"<figcaption>{_text(caption)}</figcaption></figure>"
        )


def _scale(kind: str, end: float) -> str:
    """The colours of a map from 0 to its end."""
    what = "Changed by quantization" if kind == "change" else "Error against HR"
    boxes = "".join(
        f'<rect x="{12 * index}" width="12" height="12" fill="rgb({",".join(map(str, colour))})"/>'
        for index, colour in enumerate(colours().tolist())
    )
    told = f"{what}, in levels of luma: black is 0, light yellow {end:g} or more"
    return (
        f'<p class="note scale scale-{kind}">{what}, levels of luma of 255: 0 '
        f'<svg role="img" aria-label="{told}" width="{12 * STEPS}" height="12">{boxes}</svg> {end:g}</p>'
    )


def _text(words: str) -> str:
    return escape(printable(words))
