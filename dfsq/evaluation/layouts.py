"""Where HR and LR images lie: the layouts that benchmark folders have, as a table, and how a folder is told by it.

=====================  =========================  ===================================
layout                 HR                         LR at scale s
=====================  =========================  ===================================
EDSR-PyTorch           SET/HR                     SET/LR_bicubic/Xs
BasicSR                SET/GTmod12, GT, original  SET/LRbicxs, SET/LR
by scale               SET/Xs/HR, SET/HR/Xs       SET/Xs/LR, SET/LR/Xs
SelfExSR               SET/image_SRF_s            the same folder, told by names
RCAN                   HR/SET/xs                  LR/LRBI/SET/xs
DIV2K                  SET_HR                     SET_LR_bicubic/Xs
plain                  SET                        none, SET/LR… or SET_LR…
=====================  =========================  ===================================

Case does not matter, and every folder with images below one that begins with ``LR`` will do. One that is marked with
another scale is left alone. Of those that remain there must be one: supplied LR images are used, or asked about.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dfsq.errors import LayoutError, UsageError
from dfsq.images.files import list_images, natural_order

_LAYOUTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("EDSR-PyTorch", "SET/HR", ("SET/LR*",)),
    ("by scale", "SET/HR*X#", ("SET/LR*",)),
    ("BasicSR", "SET/GTmod*", ("SET/LR*",)),
    ("BasicSR", "SET/GT", ("SET/LR*",)),
    ("BasicSR", "SET/original", ("SET/LR*",)),
    ("by scale", "SET/X#/HR", ("SET/X#/LR*",)),
    ("by scale", "SET/HR/X#", ("SET/LR*",)),
    ("SelfExSR", "SET/image_SRF_#", ()),
    ("RCAN", "HR/SET/X#", ("LR*/SET", "LR*/*/SET")),
    ("RCAN", "HR/SET", ("LR*/SET", "LR*/*/SET")),
    ("DIV2K", "SET_HR", ("SET_LR*",)),
    ("plain", "SET", ("SET/LR*", "SET_LR*")),
)
"""What a layout is called, where HR images may lie, the likeliest first, and the folders in or below which their LR
images do: SET is the set's name, # the scale, * anything. The last one, any folder of images, takes what the others
leave."""
_SCALE_MARK = re.compile("x([0-9]+)$|([0-9]+)x$", re.IGNORECASE)
_DEPTH = 3
"""Levels below a folder ``LR…`` that are searched for images."""


@dataclass(frozen=True)
class SetFolder:
    """A set: its HR folder, and the folders that begin with ``LR`` and belong to it."""

    name: str
    hr: Path
    base: Path
    """Folder that the layout starts from."""
    lr: tuple[Path, ...]
    layout: str
    """What the layout is called, see the table above."""

    def lr_at(self, scale: int) -> Path | None:
        """The folder of LR images at ``scale``; None where there are none, or at other scales only.

        Raises :class:`LayoutError` where there are several, or something else than images.
        """
        leaves = {top: _image_folders(top, _DEPTH) for top in self.lr}
        fitting = [leaf for top in leaves for leaf in leaves[top] if self._scale_of(leaf) in (None, scale)]
        if len(fitting) > 1:
            both = " and ".join(map(str, fitting[:2]))
            raise LayoutError(f"LR images for {self.hr} at ×{scale} lie in {both}", self.hr, fitting[0])
        empty = [top for top in leaves if not leaves[top]]
        if empty and not fitting:
            raise LayoutError(f"{empty[0]} lies beside {self.hr} and holds no images", self.hr, empty[0])
        return fitting[0] if fitting else None

    def _scale_of(self, folder: Path) -> int | None:
        parts = [part for part in folder.relative_to(self.base).parts if part.lower() != self.name.lower()]
        marks = [mark for mark in map(_SCALE_MARK.search, parts) if mark]
        return int(marks[-1][1] or marks[-1][2]) if marks else None


def set_folders(root: Path, scale: int | None = None) -> list[SetFolder]:
    """All sets in ``root``, or of which ``root`` is a part; at any scale where ``scale`` is None.

    Raises :class:`UsageError` where ``root`` is no folder.
    """
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder; name the folder that holds the benchmark sets")
    root = Path(os.path.abspath(root))
    found: dict[str, SetFolder] = {}
    taken: list[Path] = []
    for base in (*reversed(root.parents[:3]), root, root / "benchmark"):
        for layout, hr_pattern, lr_patterns in _LAYOUTS:
            for hr, name, at in _matches(base, hr_pattern, toward=root):
                if not _below(hr, [root]) or _below(hr, taken) or not list_images(hr):
                    continue
                lr = [top for each in lr_patterns for top, *_ in _matches(base, each, name, at)]
                taken += lr if hr_pattern == "SET" else [hr, *lr]  # in images that are a set, others may lie
                if scale in (None, at) or at is None:
                    found.setdefault(name.lower(), SetFolder(name, hr, base, tuple(lr), layout))
    return sorted(found.values(), key=lambda each: each.name)


def beside(hr: Path, scale: int) -> Path | None:
    """The folder of the LR images that belong to the folder ``hr``, if it is part of a known layout.

    Raises what :meth:`SetFolder.lr_at` does.
    """
    whole = Path(os.path.abspath(hr))
    return next((each.lr_at(scale) for each in set_folders(hr, scale) if each.hr == whole), None)


def _matches(
    folder: Path, pattern: str, name: str | None = None, scale: int | None = None, toward: Path | None = None
) -> Iterator[tuple[Path, str, int | None]]:
    """Folders below ``folder`` that a pattern describes, each with the set's name and the scale.

    ``name`` and ``scale`` are those that are known already. On the way to ``toward``, nothing else is looked at.
    """
    part, _, rest = pattern.partition("/")
    words = {
        "SET": "(?P<name>.+)" if name is None else re.escape(name),
        "#": "(?P<scale>[0-9]+)" if scale is None else str(scale),
        "*": ".*",
    }
    expression = "".join(words.get(each) or re.escape(each) for each in re.split("(SET|#|[*])", part))
    only = toward.relative_to(folder).parts[:1] if toward and _below(toward, [folder]) else ()
    for child in [folder / each for each in only] or _subfolders(folder):
        if match := re.fullmatch(expression, child.name, re.IGNORECASE):
            groups = match.groupdict()
            known, at = groups.get("name", name), int(groups["scale"]) if "scale" in groups else scale
            if rest:
                yield from _matches(child, rest, known, at, toward)
            else:
                yield child, known or child.name, at


def _image_folders(top: Path, depth: int) -> list[Path]:
    """``top`` and the folders below it that hold images themselves."""
    found = [top] if list_images(top) else []
    if depth:
        found += [leaf for folder in _subfolders(top) for leaf in _image_folders(folder, depth - 1)]
    return found


def _subfolders(folder: Path) -> list[Path]:
    try:
        children = [each for each in folder.iterdir() if not each.name.startswith(".") and each.is_dir()]
    except OSError:
        return []  # not there, or not for us
    return sorted(children, key=lambda each: natural_order(each.name))


def _below(folder: Path, tops: list[Path]) -> bool:
    return any(folder == top or top in folder.parents for top in tops)
