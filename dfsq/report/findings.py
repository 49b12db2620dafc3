"""What a run has found, and how sections are made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dfsq.report.gates import Check
from dfsq.report.pictures import Strip
from dfsq.report.report import Report
from dfsq.report.section import Section


@dataclass(frozen=True)
class Findings:
    """Everything that sections may draw on."""

    report: Report
    title: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    """How the result came about, by caption, in order."""
    checks: Sequence[Check] = ()
    strips: Sequence[Strip] = ()
    per_image: bool = False
    """Whether scores have a row per image in forms that are short."""


@dataclass(frozen=True)
class Part:
    """A section that reports have; a file in :mod:`dfsq.report.sections` holds one as ``PART``."""

    order: int
    """Where it stands among the others, which are in tens."""
    make: Callable[[Findings], Section | None]
    """None where a run has found nothing for it."""
