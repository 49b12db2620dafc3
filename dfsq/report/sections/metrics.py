"""Scores by metrics that were asked for, beside PSNR and SSIM."""

from __future__ import annotations

from collections.abc import Mapping

from dfsq.report.findings import Findings, Part
from dfsq.report.report import Report
from dfsq.report.section import Cell, Column, Section, Value, number


def metrics(findings: Findings) -> Section | None:
    """A row per model and set, or per model, set and image; a column per metric. None where there are none."""
    report = findings.report
    names = list(dict.fromkeys(name for model in report.models for each in model.sets for name in each.metrics))
    if not names:
        return None
    rows: list[tuple[Value, ...]] = []
    for model in report.models:
        for each in model.sets:
            start: tuple[Value, ...] = (model.name, f"{each.name} ×{each.scale}")
            if findings.per_image:
                rows += [(*start, image.name, *_cells(image.metrics, names)) for image in each.images]
                start = (*start, "mean")
            rows.append((*start, *_cells(each.metrics, names)))
    texts = ("model", "set", *(("image",) if findings.per_image else ()))
    arrows = [Column(f"{name} {_arrow(report, name)}".rstrip(), numeric=True) for name in names]
    return Section("Metrics of pyiqa", (*map(Column, texts), *arrows), rows, ("↓: less is better, ↑: more.",))


def _cells(values: Mapping[str, float], names: list[str]) -> tuple[Cell, ...]:
    return tuple(number(values.get(name), f"{values.get(name, 0):.4g}") for name in names)


def _arrow(report: Report, name: str) -> str:
    known = report.details.get("metrics", {}).get(name)
    return "" if known is None else "↓" if known["lower_better"] else "↑"


PART = Part(45, metrics)
