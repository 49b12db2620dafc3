"""What a report is made of: sections, which every output form shows in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Column:
    """A column of a table. One without a name heads captions or what they stand for."""

    name: str
    numeric: bool = False
    """Whether its cells are numbers: aligned to the right, never folded, and sorted as numbers."""


@dataclass(frozen=True)
class Cell:
    """A number in a table, as it is read and as it is."""

    text: str
    value: float | None = None
    """Unrounded, for programs and for sorting; None where there is no number."""


Value = str | Cell
"""What stands in a table."""


class Picture(Protocol):
    """What a page shows and other forms leave out."""

    @property
    def caption(self) -> str:
        """One line about it, as plain text; empty where it speaks for itself."""

    def html(self) -> str:
        """Inline SVG, or images as ``data:`` links; names are escaped, nothing is fetched."""


@runtime_checkable
class Elastic(Protocol):
    """A picture that takes the room that is left."""

    @property
    def caption(self) -> str:
        """As of a :class:`Picture`."""

    def html_within(self, room: int) -> str:
        """As of a :class:`Picture`, in at most about ``room`` bytes."""


@dataclass(frozen=True)
class Verdict:
    """A note that says whether something passed."""

    text: str
    passed: bool


@dataclass(frozen=True)
class Section:
    """One part of a report: a title, a table, notes and pictures, each of which may be missing."""

    title: str
    columns: tuple[Column, ...] = ()
    rows: Sequence[Sequence[Value]] = ()
    """As many values each as there are columns."""
    notes: Sequence[str | Verdict] = ()
    """A paragraph each, plain text."""
    pictures: Sequence[Picture | Elastic] = ()
    headline: bool = False
    """Whether the rows, a caption and a figure each, are to be seen at a glance."""
    only_page: bool = False
    """Whether shorter forms, Markdown and the terminal, leave it out."""


CAPTIONS = (Column(""), Column(""))
"""The columns of a table of captions and what they stand for; it has no head."""


def number(value: float | None, text: str) -> Cell:
    """A number that is read as ``text``, or a dash where there is none."""
    return Cell("–") if value is None else Cell(text, value)


def texts(row: Sequence[Value]) -> tuple[str, ...]:
    """A row as it is read."""
    return tuple(value.text if isinstance(value, Cell) else value for value in row)
