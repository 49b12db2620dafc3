"""Scores and drops, with what their reader must know."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dfsq.evaluation.results import Scores
from dfsq.report.charts.bars import Bars
from dfsq.report.findings import Findings, Part
from dfsq.report.report import ModelReport, Report, bits_of, shown
from dfsq.report.section import Cell, Column, Section, Value, number

WHOLE_FILE = "the file itself"
"""Where a checkpoint's weights lie unless a container or prefix was chosen."""


def scores(findings: Findings) -> Section:
    """The table of scores and its notes, with a chart of drops where there are any."""
    report = findings.report
    section = table(report, findings.per_image)
    names = [f"{each.name} ×{each.scale}" for each in report.sets]
    series = [(model.name, [_drop(report, model, each.name) for each in report.sets]) for model in report.models[1:]]
    chart = Bars("Drop per set", "dB", names, series)
    return replace(section, pictures=(chart,) if series else ())


def _drop(report: Report, model: ModelReport, name: str) -> float | None:
    drop = report.drop(model, name)
    return drop.psnr_y if drop is not None and math.isfinite(drop.psnr_y) else None


def table(report: Report, per_image: bool = False) -> Section:
    """A row per model and set, or per model, set and image.

    Scores are rounded for reading: PSNR to 0.01 dB, SSIM to 0.0001, drops to 0.001 dB.
    """
    several = len(report.models) > 1
    names = ("model", "bits", "set", *(("image",) if per_image else ()))
    numbers = ("Y-PSNR", "SSIM", "RGB-PSNR", *(("drop",) if several else ()))
    rows: list[tuple[Value, ...]] = []
    for model in report.models:
        for each in model.sets:
            start: tuple[Value, ...] = (model.name, bits_of(model), f"{each.name} ×{each.scale}")
            if per_image:
                rows += [
                    (*start, image.name, *_scores(image.scores), *(("",) if several else ())) for image in each.images
                ]
                start = (*start, "mean")
            drop = report.drop(model, each.name)
            rows.append((*start, *_scores(each.mean), *((_drop_cell(drop),) if several else ())))
    columns = (*map(Column, names), *(Column(each, numeric=True) for each in numbers))
    return Section("Scores", columns, rows, notes(report))


def _drop_cell(drop: Scores | None) -> Cell:
    """A drop in dB as it stands in tables."""
    value = None if drop is None else drop.psnr_y
    return number(value, shown(value, 3, signed=True))


def _scores(scores: Scores) -> tuple[Cell, ...]:
    values = ((scores.psnr_y, 2), (scores.ssim_y, 4), (scores.psnr_rgb, 2))
    return tuple(number(value, shown(value, digits)) for value, digits in values)


def identity(network: str, scale: int, identified: Mapping[str, Any]) -> str:
    """What a network was taken for, with how that was found in brackets: ``edsr (parameter names), ×2 (shapes), …``."""
    found = identified["found"]
    parts = {
        "architecture": network,
        "scale": f"×{scale}",
        "rgb_range": f"range 0–{identified['rgb_range']:g}",
        "channels": "" if identified["channels"] == 3 else "luminance",
    }
    told = (f"{part} ({found[name]})" if name in found else part for name, part in parts.items() if part)
    weights = found.get("weights", WHOLE_FILE)
    return ", ".join(told) + (f", weights of {weights}" if weights != WHOLE_FILE else "")


def notes(report: Report) -> list[str]:
    """What a reader of the scores must know."""
    made = [each.name for each in report.sets if not each.lr_supplied]
    lines = ["PSNR in dB and SSIM on luma, drop = Y-PSNR of the first model minus that of the row."]
    if made:
        lines.append(f"LR images made by MATLAB bicubic: {', '.join(made)}.")
    alike: dict[str, list[str]] = {}
    for model in report.models:
        if model.identified:
            alike.setdefault(identity(model.network, model.scale, model.identified), []).append(model.name)
    lines += [f"{', '.join(names)}: {told}." for told, names in alike.items()]
    run: dict[str, list[str]] = {}
    for model in report.models:
        if model.engine is not None:
            run.setdefault(str(model.engine), []).append(model.name)
    lines += [f"Run by {engine}: {', '.join(names)}." for engine, names in run.items()]
    return lines


PART = Part(40, scores)
