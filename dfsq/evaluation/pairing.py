"""Which LR image belongs to which HR image: by names, as they differ between benchmarks.

``butterfly_HR_x2`` and ``butterfly_LRBI_x2``, ``img_001_SRF_2_HR`` and ``img_001_SRF_2_LR``, ``0801`` and ``0801x2``,
``a`` and ``a_bicLRx2``: what is left without the marks is equal, whatever the case and the suffix.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfsq.errors import ImageError

_HR_MARK = r"(?:[-_. ](?:srf_{s}|x{s}))?[-_. ](?:hr|gt)(?:[-_. ]?x{s})?$"
_LR_WORD = r"[-_. ](?:bic)?lr(?:bi|bd|dn)?(?:[-_. ]?x{s})?$"
_LR_MARK = r"(?:[-_. ]*x{s}[mdw]?|[-_. ]+(?:{s}x|srf_{s}|(?:bicubic|bic|bi|bd|dn|lr)+))$"
"""Marks at the end of names; ``m``, ``d`` and ``w`` are DIV2K's mild, difficult and wild."""


@dataclass(frozen=True)
class Match:
    """An HR image, its LR image, and what both are called without marks; suffix included where stems collide."""

    name: str
    hr: Path
    lr: Path


def match(hr: Sequence[Path], lr: Sequence[Path], scale: int) -> list[Match]:
    """Find the LR image of every HR image. Raises :class:`ImageError` where there is none, or more than one."""
    by_name = defaultdict(list)
    for path in lr:
        for name in _without_lr_marks(path.stem, scale):
            by_name[_key(name)].append(path)
    found = []
    for name, path in zip(names(hr, scale), hr, strict=True):
        bare = _without_hr_mark(path.stem, scale)
        partners = by_name[_key(bare)] or by_name[_key(path.stem)]
        if not partners:
            raise ImageError(
                f"no LR image for {path} in {lr[0].parent}; it would be called {bare}{path.suffix} or "
                f"{bare}x{scale}{path.suffix}: add it, or take the HR image away"
            )
        if len(partners) > 1:
            both = " and ".join(each.name for each in partners[:2])
            raise ImageError(f"two LR images for {path} in {partners[0].parent}: {both}; take one away")
        found.append(Match(name, path, partners[0]))
    return found


def names(hr: Sequence[Path], scale: int) -> list[str]:
    """What HR images are called in a report: without marks, with the suffix where they would be alike."""
    bare = [_without_hr_mark(path.stem, scale) for path in hr]
    often = Counter(bare)
    return [name if often[name] == 1 else path.name for name, path in zip(bare, hr, strict=True)]


def split(images: Sequence[Path], scale: int) -> tuple[list[Path], list[Path]]:
    """HR and LR images of a folder that holds both, told by their marks; no LR images where it does not."""
    bare = {path: _without_hr_mark(path.stem, scale) for path in images}
    lr = {path: None for path in images if re.search(_LR_WORD.format(s=scale), path.stem, re.IGNORECASE)}
    hr = [path for path in images if path not in lr]
    marked = [path for path in hr if bare[path] != path.stem]
    wanted = {_key(bare[path]) for path in marked or hr}
    if any(_key(name) in wanted for path in lr for name in _without_lr_marks(path.stem, scale)):
        return marked or hr, list(lr)
    return list(images), []


def _without_hr_mark(stem: str, scale: int) -> str:
    return re.sub(_HR_MARK.format(s=scale), "", stem, flags=re.IGNORECASE) or stem


def _without_lr_marks(stem: str, scale: int) -> list[str]:
    """The name itself, and what remains of it mark by mark."""
    found = [stem]
    while (shorter := re.sub(_LR_MARK.format(s=scale), "", found[-1], flags=re.IGNORECASE)) not in ("", found[-1]):
        found.append(shorter)
    return found


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()  # macOS takes letters and accents apart
