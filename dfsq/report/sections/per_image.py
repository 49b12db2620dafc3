"""Every image by itself."""

from __future__ import annotations

from dfsq.evaluation.results import Scores
from dfsq.plurals import counted
from dfsq.report.findings import Findings, Part
from dfsq.report.report import ModelReport, Report, difference, shown
from dfsq.report.section import Column, Section, Value, number

_MOST = 600
"""Rows of a page; the JSON and CSV have all."""


def per_image(findings: Findings) -> Section:
    """A row per image and a column per model; the images that lost most first."""
    report = findings.report
    names = [model.name for model in report.models]
    columns = [Column("set"), Column("image")]
    columns += [Column(f"drop, {name}" if len(names) > 2 else "drop", numeric=True) for name in names[1:]]
    columns += [Column(f"Y-PSNR, {name}" if len(names) > 1 else "Y-PSNR", numeric=True) for name in names]
    rows = sorted(_rows(report), key=lambda each: each[0], reverse=True)
    left = len(rows) - _MOST
    notes = [f"Left out here: {counted(left, 'image')} that lost less; the JSON tells all."] if left > 0 else []
    shown_rows = [row for _, row in rows[:_MOST]]
    return Section("Every image", tuple(columns), shown_rows, notes, only_page=True)


def _rows(report: Report) -> list[tuple[float, list[Value]]]:
    """The largest drop of every image, or how low its Y-PSNR is, and its row."""
    rows: list[tuple[float, list[Value]]] = []
    for each in report.sets:
        for index, image in enumerate(each.images):
            scores = [_score(model, each.name, index, image.name) for model in report.models]
            drops = [None if score is None else difference(image.scores, score).psnr_y for score in scores[1:]]
            values = [None if score is None else score.psnr_y for score in scores]
            row: list[Value] = [f"{each.name} ×{each.scale}", image.name]
            row += [number(drop, shown(drop, 3, signed=True)) for drop in drops]
            row += [number(value, shown(value, 2)) for value in values]
            known = [drop for drop in drops if drop is not None]
            rows.append((max(known, default=-image.scores.psnr_y), row))
    return rows


def _score(model: ModelReport, name: str, index: int, image: str) -> Scores | None:
    """Of an image, by its place, for a set may have two of one name."""
    found = model.set(name)
    here = found.images[index : index + 1] if found else ()
    return here[0].scores if here and here[0].name == image else None


PART = Part(50, per_image)
