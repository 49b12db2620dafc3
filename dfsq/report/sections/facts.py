"""How the result came about."""

from __future__ import annotations

from dfsq.report.findings import Findings, Part
from dfsq.report.section import CAPTIONS, Section


def facts(findings: Findings) -> Section | None:
    """A row per fact."""
    return Section("How it came about", CAPTIONS, tuple(findings.facts.items())) if findings.facts else None


PART = Part(80, facts)
