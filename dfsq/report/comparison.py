"""Several quantizations of one network side by side: a row each, a column per set, the best of every column marked."""

from __future__ import annotations

from collections.abc import Sequence

from dfsq.report.report import ModelReport, Report, bits_of, shown

BEST = " *"
"""Follows the smallest drop of a set at the same bits."""


def comparison_table(report: Report) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Column names and rows: the first model's Y-PSNR, then the drop, size and time of every quantization."""
    sets = [each.name for each in report.sets]
    columns = ("recipe", "bits", *(f"{each.name} ×{each.scale}" for each in report.sets), "size", "time")
    first = report.models[0]
    rows = [(first.name, bits_of(first), *(shown(each.mean.psnr_y, 2) for each in first.sets), "–", "–")]
    for model in report.models[1:]:
        rivals = [each for each in report.models[1:] if bits_of(each) == bits_of(model)]
        drops = (_drop(report, model, rivals, name) for name in sets)
        size = "–" if model.size is None else f"{model.size / 1e3:.0f} kB"
        seconds = report.details.get("seconds", {}).get(model.name)
        rows.append((model.name, bits_of(model), *drops, size, "–" if seconds is None else f"{seconds:.0f} s"))
    return columns, rows


def _drop(report: Report, model: ModelReport, rivals: Sequence[ModelReport], name: str) -> str:
    drops = {each.name: drop.psnr_y for each in rivals if (drop := report.drop(each, name)) is not None}
    best = len(drops) > 1 and drops[model.name] == min(drops.values())
    return shown(drops[model.name], 3, signed=True) + (BEST if best else "")
