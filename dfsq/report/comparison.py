"""Several quantizations of one network side by side: a row each, a column per set, the best of every column marked."""

from __future__ import annotations

from collections.abc import Sequence

from dfsq.report.report import ModelReport, Report, bits_of, shown
from dfsq.report.section import Cell, Column, Section, Value, number

BEST = " *"
"""Follows the smallest drop of a set at the same bits."""


def comparison(report: Report) -> Section:
    """The first model's Y-PSNR, then the drop, size and time of every quantization."""
    sets = [each.name for each in report.sets]
    numbers = (*(f"{each.name} ×{each.scale}" for each in report.sets), "size", "time")
    first = report.models[0]
    full = (number(each.mean.psnr_y, shown(each.mean.psnr_y, 2)) for each in first.sets)
    rows: list[tuple[Value, ...]] = [(first.name, bits_of(first), *full, Cell("–"), Cell("–"))]
    for model in report.models[1:]:
        rivals = [each for each in report.models[1:] if bits_of(each) == bits_of(model)]
        drops = (_drop(report, model, rivals, name) for name in sets)
        size = number(model.size, f"{(model.size or 0) / 1e3:.0f} kB")
        seconds = report.details.get("seconds", {}).get(model.name)
        rows.append((model.name, bits_of(model), *drops, size, number(seconds, f"{seconds or 0:.0f} s")))
    columns = (Column("recipe"), Column("bits"), *(Column(each, numeric=True) for each in numbers))
    return Section("Y-PSNR in full precision, drops below it (dB)", columns, rows)


def _drop(report: Report, model: ModelReport, rivals: Sequence[ModelReport], name: str) -> Cell:
    drops = {each.name: drop.psnr_y for each in rivals if (drop := report.drop(each, name)) is not None}
    best = len(drops) > 1 and drops[model.name] == min(drops.values())
    return Cell(shown(drops[model.name], 3, signed=True) + (BEST if best else ""), drops[model.name])
