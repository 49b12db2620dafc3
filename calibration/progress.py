"""How calibration tells what it is doing."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with what is being done, steps done and steps in all, 0 where that is not known."""

    def __call__(self, what: str, done: int, total: int, detail: str = "", share: float | None = None, /) -> None:
        """``detail``: figures that change from step to step; ``share``: of the work done, 0…1, where some steps take
        longer than others."""
        ...


def naming(progress: Progress, which: str) -> Progress:
    """``progress`` that tells ``which`` of several it is of."""

    def told(what: str, done: int, total: int, detail: str = "", share: float | None = None, /) -> None:
        progress(f"{what}, {which}", done, total, detail, share)

    return told


def silent(what: str, done: int, total: int, detail: str = "", share: float | None = None, /) -> None:
    """Progress that nobody sees."""
