"""The images that lost most, before and after."""

from __future__ import annotations

from dfsq.report.findings import Findings, Part
from dfsq.report.section import Section
from dfsq.report.viewer import Viewer


def images(findings: Findings) -> Section | None:
    """A viewer of as many as there is room for."""
    if not findings.compared:
        return None
    return Section(
        "Images that lost most",
        notes=(
            "Pixels are those that were scored, without loss; only HR is compressed here, and error maps are averaged "
            "over 2×2 pixels.",
        ),
        pictures=(Viewer(findings.compared, findings.names),),
        only_page=True,
    )


PART = Part(30, images)
