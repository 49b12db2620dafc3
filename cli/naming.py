"""Names of files and folders that are made of other names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
"""What one system or another does not allow in the name of a file."""
_MOST_BYTES = 200
"""File systems end at 255, of which a suffix and a number need some."""


def distinct(names: Iterable[str]) -> list[str]:
    """A file name for each of ``names``: itself where that can be; where two would be one file, the later is numbered.

    Names that differ in case alone, or in how an accent is spelled, are one file on many systems.
    """
    taken: set[str] = set()
    found = []
    for name in map(_allowed, names):
        candidate, number = name, 1
        while _compared(candidate) in taken:
            number += 1
            candidate = f"{name}-{number}"
        taken.add(_compared(candidate))
        found.append(candidate)
    return found


def stems(names: Iterable[str]) -> list[str]:
    """Names of files without their suffix, or with it where some would be the same."""
    whole = list(names)
    short = [Path(name).stem for name in whole]
    return short if len({_compared(name) for name in short}) == len(short) else whole


def _allowed(name: str) -> str:
    name = _NOT_IN_NAMES.sub("_", name)
    while len(name.encode("utf-8", "surrogateescape")) > _MOST_BYTES:
        name = name[:-1]
    return name.rstrip(". ") or "_"


def _compared(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
