"""A section's table as CSV, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict

from dfsq.report.report import Report
from dfsq.report.section import Cell, Column, Section, Value


def to_csv(section: Section) -> str:
    """A line with the names of the columns and a line per row; numbers unrounded, nothing where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(column.name for column in section.columns)
    writer.writerows(map(_plain, row) for row in section.rows)
    return text.getvalue()


def images(report: Report) -> Section:
    """A row per model, set and image, with everything about it that programs sort and group by."""
    described = ("model", "network", "scale", "w_bits", "a_bits", "set", "lr", "image")
    scores = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")
    engine = ("engine", "version", "precision", "instructions")
    made = ("seconds", "bytes", "parameters", "multiply_adds", "bit_operations")
    parts = list(dict.fromkeys(part for model in report.models for part in model.parts))
    sets = [each for model in report.models for each in model.sets]
    metrics = list(dict.fromkeys(name for each in sets for image in each.images for name in image.metrics))
    rows: list[tuple[Value, ...]] = []
    for model in report.models:
        run: tuple[str, ...] = tuple(asdict(model.engine).values()) if model.engine else ("",) * len(engine)
        size: tuple[float | None, ...] = (report.seconds_of(model), model.size, *model.low_bits.values())
        origin: tuple[Value, ...] = (model.recipe, *map(_cell, (*size, *map(model.parts.get, parts))))
        for each in model.sets:
            for image in each.images:
                numbers: tuple[float | None, ...] = (model.scale, model.w_bits, model.a_bits)
                row: list[Value] = [model.name, model.network, *map(_cell, numbers), each.name, each.lr, image.name]
                row += map(_cell, (*asdict(image.scores).values(), *map(image.metrics.get, metrics)))
                rows.append((*row, *run, *origin))
    numeric = ("scale", "w_bits", "a_bits", *scores, *metrics, *made, *parts)
    names = (*described, *scores, *metrics, *engine, "recipe", *made, *parts)
    return Section("Images", tuple(Column(each, each in numeric) for each in names), rows)


def _cell(value: float | None) -> Cell:
    return Cell("" if value is None else str(value), value)


def _plain(value: Value) -> str | float | None:
    return value.value if isinstance(value, Cell) else value
