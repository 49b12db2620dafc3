"""The report as a table of strings, and that table as Markdown and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dfsq.evaluation.results import Scores
from dfsq.printable import printable
from dfsq.report.gates import Check
from dfsq.report.report import Report, bits_of, shown

Rows = list[tuple[str, ...]]
WHOLE_FILE = "the file itself"
"""Where a checkpoint's weights lie unless a container or prefix was chosen."""
NUMERIC = ("Y-PSNR", "SSIM", "RGB-PSNR", "drop")
"""Columns of :func:`table` that hold numbers."""


def table(report: Report, per_image: bool = False) -> tuple[tuple[str, ...], Rows]:
    """Column names, and a row per model and set, or per model, set and image.

    Scores are rounded for reading: PSNR to 0.01 dB, SSIM to 0.0001, drops to 0.001 dB.
    """
    several = len(report.models) > 1
    columns = ("model", "bits", "set", *(("image",) if per_image else ()), "Y-PSNR", "SSIM", "RGB-PSNR")
    rows: Rows = []
    for model in report.models:
        for each in model.sets:
            name = f"{printable(each.name)} ×{each.scale}"
            start: tuple[str, ...] = (printable(model.name), bits_of(model), name)
            if per_image:
                rows += [
                    (*start, printable(image.name), *_scores(image.scores), *(("",) if several else ()))
                    for image in each.images
                ]
                start = (*start, "mean")
            drop = report.drop(model, each.name)
            end = (shown(None if drop is None else drop.psnr_y, 3, signed=True),) if several else ()
            rows.append((*start, *_scores(each.mean), *end))
    return (*columns, "drop") if several else columns, rows


def _scores(scores: Scores) -> tuple[str, str, str]:
    return shown(scores.psnr_y, 2), shown(scores.ssim_y, 4), shown(scores.psnr_rgb, 2)


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
        lines.append(f"LR images made by MATLAB bicubic: {', '.join(map(printable, made))}.")
    alike: dict[str, list[str]] = {}
    for model in report.models:
        if model.identified:
            alike.setdefault(identity(model.network, model.scale, model.identified), []).append(model.name)
    lines += [f"{', '.join(map(printable, names))}: {printable(told)}." for told, names in alike.items()]
    run: dict[str, list[str]] = {}
    for model in report.models:
        if model.engine is not None:
            run.setdefault(str(model.engine), []).append(model.name)
    lines += [f"Run by {engine}: {', '.join(map(printable, names))}." for engine, names in run.items()]
    return lines


def to_markdown(
    report: Report,
    checks: Sequence[Check] = (),
    per_image: bool = False,
    title: str = "",
    facts: Mapping[str, str] | None = None,
) -> str:
    """Title, facts, table, notes and the gates' verdicts, as GitHub shows them in a job summary or a pull request."""
    columns, rows = table(report, per_image)
    lines = [f"## {_markdown(title)}", ""] if title else []
    if facts:
        lines += [_markdown_row(("", "")), _markdown_row(("---", "---")), *map(_markdown_row, facts.items()), ""]
    lines += [_markdown_row(columns), _markdown_row("---:" if column in NUMERIC else "---" for column in columns)]
    lines += map(_markdown_row, rows)
    lines += ["", *map(_markdown, notes(report))]
    lines += [f"\n{'✅' if check.passed else '❌'} {_markdown(str(check))}" for check in checks]
    return "\n".join(lines) + "\n"


def to_csv(report: Report) -> str:
    """One line per model, set and image, unrounded, for spreadsheets and data frames."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        (
            *("model", "network", "scale", "w_bits", "a_bits", "set", "lr", "image"),
            *("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"),
            *("engine", "version", "precision", "instructions"),
        )
    )
    for model in report.models:
        engine = asdict(model.engine).values() if model.engine else [""] * 4
        for each in model.sets:
            for image in each.images:
                start = (
                    model.name,
                    model.network,
                    model.scale,
                    model.w_bits,
                    model.a_bits,
                    each.name,
                    each.lr,
                    image.name,
                )
                writer.writerow((*start, *asdict(image.scores).values(), *engine))
    return text.getvalue()


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(map(_markdown, cells)) + " |"


def _markdown(text: str) -> str:
    """``text`` as Markdown that shows it: names may hold what is markup there."""
    return re.sub(r"[\\`*\[\]<>&~|]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", printable(text))
