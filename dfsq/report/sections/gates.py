"""What the gates say."""

from __future__ import annotations

from dfsq.report.findings import Findings, Part
from dfsq.report.section import Section, Verdict


def gates(findings: Findings) -> Section | None:
    """A line per limit, model and set."""
    if not findings.checks:
        return None
    return Section("Gates", notes=[Verdict(str(check), check.passed) for check in findings.checks])


PART = Part(20, gates)
