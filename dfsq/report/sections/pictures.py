"""Details of images, as two models upscale them."""

from __future__ import annotations

from dfsq.report.findings import Findings, Part
from dfsq.report.section import Section


def pictures(findings: Findings) -> Section | None:
    """A strip per image."""
    if not findings.strips:
        return None
    return Section(
        "Pictures",
        notes=("Each detail is where the two models differ most.",),
        pictures=findings.strips,
        only_page=True,
    )


PART = Part(40, pictures)
