"""Several quantizations of one network side by side: a row each, a column per set, the best of every column marked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from dfsq.report.charts.scatter import Mark, Scatter
from dfsq.report.findings import Findings, Part
from dfsq.report.report import ModelReport, Report, bits_of, shown
from dfsq.report.section import Cell, Column, Picture, Section, Value, number

_BEST = " *"
"""Follows the smallest drop of a set at the same bits."""


def comparison(findings: Findings) -> Section | None:
    """Of ``dfsq compare``; elsewhere on pages alone, where there is more than one quantized model."""
    report = findings.report
    if "recipes" in report.details:
        return table(report)
    return replace(table(report), only_page=True) if len(report.models) > 2 else None


def table(report: Report) -> Section:
    """The first model's Y-PSNR, then the drop, size and time of every quantization; a mark for each in the charts."""
    sets = [each.name for each in report.sets]
    numbers = (*(f"{each.name} ×{each.scale}" for each in report.sets), "size", "BitOPs", "time")
    first = report.models[0]
    full = (number(each.mean.psnr_y, shown(each.mean.psnr_y, 2)) for each in first.sets)
    rows: list[tuple[Value, ...]] = [(first.name, bits_of(first), *full, *[Cell("–")] * 3)]
    for model in report.models[1:]:
        rivals = [each for each in report.models[1:] if bits_of(each) == bits_of(model)]
        drops = (_drop(report, model, rivals, name) for name in sets)
        size, operations, taken = model.size, model.low_bits["bit_operations"], report.seconds_of(model)
        cells = (
            number(size, f"{(size or 0) / 1e3:.0f} kB"),
            number(operations, f"{100 * (operations or 0):.1f} %"),
            number(taken, f"{taken or 0:.0f} s"),
        )
        rows.append((model.name, bits_of(model), *drops, *cells))
    columns = (Column("recipe"), Column("bits"), *(Column(each, numeric=True) for each in numbers))
    return Section("Y-PSNR in full precision, drops below it (dB)", columns, rows, pictures=_charts(report))


def _drop(report: Report, model: ModelReport, rivals: Sequence[ModelReport], name: str) -> Cell:
    drops = {each.name: drop.psnr_y for each in rivals if (drop := report.drop(each, name)) is not None}
    if model.name not in drops:
        return Cell("–")
    best = len(drops) > 1 and drops[model.name] == min(drops.values())
    return Cell(shown(drops[model.name], 3, signed=True) + (_BEST if best else ""), drops[model.name])


def _charts(report: Report) -> list[Picture]:
    """The mean drop against whatever the runs cost."""
    sizes = {each.name: each.size / 1e3 for each in report.models if each.size is not None}
    taken = {each.name: seconds for each in report.models if (seconds := report.seconds_of(each)) is not None}
    pace = {each.name: each.seconds for each in report.models if each.seconds is not None}
    axes = (
        ("size", "kB", sizes),
        ("time in the engine", "s a megapixel", pace),
        ("time to quantize", "s", taken),
    )
    charts: list[Picture] = []
    for what, unit, costs in axes:
        marks = [mark for model in report.models[1:] if (mark := _mark(report, model, costs, f"{what} %s {unit}"))]
        if marks:
            charts.append(Scatter(f"Drop against {what}", f"{what}, {unit}", "mean drop, dB", marks))
    return charts


def _mark(report: Report, model: ModelReport, costs: Mapping[str, float], told: str) -> Mark | None:
    """A model's, where its cost and all its drops are known; ``told`` says what the cost is."""
    drops = {each.name: drop.psnr_y for each in model.sets if (drop := report.drop(model, each.name)) is not None}
    if model.name not in costs or not drops or not all(map(math.isfinite, drops.values())):
        return None
    cost = costs[model.name]
    figures = [f"drop on {name} {drop:.3f} dB" for name, drop in drops.items()]
    return Mark(model.name, cost, fmean(drops.values()), bits_of(model), ", ".join((*figures, told % f"{cost:.4g}")))


PART = Part(35, comparison)
