"""What the bytes of the files are."""

from __future__ import annotations

from collections.abc import Mapping

from dfsq.report.charts.stack import Stack
from dfsq.report.findings import Findings, Part
from dfsq.report.report import size_text
from dfsq.report.section import Column, Section, number

_WHOLE = "full precision"


def file_size(findings: Findings) -> Section | None:
    """A bar per file and a row per part, where there is an artifact."""
    bars: list[tuple[str, Mapping[str, float]]] = []
    for model in findings.report.models:
        if model.artifact is not None and "parts" in model.artifact:
            bars.append((model.name, model.artifact["parts"]))
        elif model.size is not None:
            bars.append((model.name, {_WHOLE: model.size}))
    if all(_WHOLE in sizes for _, sizes in bars):
        return None
    rows = [
        (name, part, number(size, size_text(size)), number(share := size / (sum(sizes.values()) or 1), f"{share:.1%}"))
        for name, sizes in bars
        for part, size in sizes.items()
        if size
    ]
    columns = (Column("file"), Column("part"), Column("size", numeric=True), Column("share", numeric=True))
    return Section("Size by part", columns, rows, pictures=(Stack("", bars, size_text),), only_page=True)


PART = Part(60, file_size)
