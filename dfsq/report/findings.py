"""What a run has found, and how sections are made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field

from dfsq.report.compared import Compared
from dfsq.report.gates import Check
from dfsq.report.report import Report
from dfsq.report.section import Section
from dfsq.report.signals import Signals


@dataclass(frozen=True)
class Findings:
    """Everything that sections may draw on."""

    report: Report
    title: str = ""
    _: KW_ONLY
    facts: Mapping[str, str] = field(default_factory=dict)
    """How the result came about, by caption, in order."""
    checks: Sequence[Check] = ()
    compared: Sequence[Compared] = ()
    """Images of the first model and the last, that which lost most first."""
    names: tuple[str, str] = ("", "")
    """Of those two models."""
    signals: Signals | None = None
    """What happens inside the last model."""
    command: str = ""
    """What was typed."""
    checksums: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the files that took part, by name."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of what computed."""
    per_image: bool = False
    """Whether scores have a row per image in forms that are short."""


@dataclass(frozen=True)
class Part:
    """A section that reports have; a file in :mod:`dfsq.report.sections` holds one as ``PART``."""

    order: int
    """Where it stands among the others, which are in tens."""
    make: Callable[[Findings], Section | None]
    """None where a run has found nothing for it."""
