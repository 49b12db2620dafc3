"""What a folder of benchmark sets holds: layouts, scales, counts, as an evaluation will find them. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dfsq.errors import DfsqError, ImageError, LayoutError
from dfsq.evaluation.benchmarks import available, find
from dfsq.evaluation.layouts import SetFolder, set_folders
from dfsq.images.files import list_images
from dfsq.images.opening import open_image

SCALES = (2, 3, 4, 8)
"""Scales that are looked for: those of published networks."""


@dataclass(frozen=True)
class SetAt:
    """A set at one scale."""

    images: int
    hr: Path
    """The folder of its HR images."""
    lr: Path | None
    """The folder of its LR images; None: they are made by MATLAB bicubic."""


@dataclass(frozen=True)
class Inventory:
    """What there is of one set."""

    name: str
    layout: str
    """See :mod:`dfsq.evaluation.layouts`."""
    scales: Mapping[int, SetAt]
    """Those of :data:`SCALES` at which it can be used."""
    problems: Mapping[int, str]
    """By scale, why it cannot be used there, where somebody should look into that."""


def inventory(root: Path) -> list[Inventory]:
    """The sets in ``root``, or of which ``root`` is a part.

    Raises :class:`~dfsq.errors.UsageError` where there is none, and where ``root`` is no folder.
    """
    found = {each: Inventory(each, "", {}, {}) for each in available(root)}
    for scale in SCALES:
        for folder in set_folders(root, scale):
            found[folder.name] = _with(found[folder.name], folder, scale, root)
    layouts = {each.name: each.layout for each in set_folders(root)}
    return [replace(each, layout=layouts[name]) for name, each in found.items()]


def _with(known: Inventory, folder: SetFolder, scale: int, root: Path) -> Inventory:
    """``known`` and what there is at ``scale``."""
    try:
        at = find(root, folder.name, scale)
    except LayoutError as error:
        return replace(known, problems={**known.problems, scale: error.problem})
    except DfsqError as error:
        lr = folder.lr_at(scale)
        images = [list_images(each) for each in (folder.hr, lr) if each is not None]
        if len(images) == 2 and images[1] and not _fit(images[0][0], images[1][0], scale):
            return known  # images of another scale, which nothing but their size tells
        return replace(known, problems={**known.problems, scale: str(error)})
    first = at.pairs[0]
    if not isinstance(first.hr, Path) or (first.lr is not None and not _fit(first.hr, first.lr, scale)):
        return known
    lr = None if first.lr is None else first.lr.parent
    return replace(known, scales={**known.scales, scale: SetAt(len(at.pairs), first.hr.parent, lr)})


def _fit(hr: Path, lr: Path, scale: int) -> bool:
    """Whether the sizes of two images belong to ``scale``; those that cannot be read may."""
    try:
        large, small = (sorted(_size(path)) for path in (hr, lr))
    except ImageError:
        return True
    return small == [side // scale for side in large]


def _size(path: Path) -> tuple[int, int]:
    with open_image(path) as file:
        return file.size
