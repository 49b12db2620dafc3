"""What a reader wants to know first: how much smaller, how much worse, how much faster."""

from __future__ import annotations

from collections.abc import Iterator

from dfsq.report.findings import Findings, Part
from dfsq.report.report import ModelReport, Report, bits_of, shown, size_text
from dfsq.report.section import CAPTIONS, Section

_MOST = 6
"""Figures of one kind at a glance; the tables have all."""


def verdict(findings: Findings) -> Section:
    """Figures at a glance: of one quantized model its size, drop and speed, of several the drop and size of each."""
    report = findings.report
    others = report.models[1:]
    if not others:
        rows = [*_scores(report.models[0]), *_size(report.models[0])]
    elif len(others) == 1:
        rows = [*_drops(report, others[0]), *_shrunk(report.models[0], others[0]), *_speed(report.models[0], others[0])]
        rows += _took(report)
    else:
        rows = [row for other in others[:_MOST] for row in _short(report, other)]
    return Section("", CAPTIONS, rows, headline=True, only_page=True)


def _scores(model: ModelReport) -> Iterator[tuple[str, str]]:
    for each in model.sets[:_MOST]:
        yield f"Y-PSNR on {each.name} ×{each.scale}", f"{shown(each.mean.psnr_y, 2)} dB"


def _size(model: ModelReport) -> Iterator[tuple[str, str]]:
    if model.size is not None:
        yield "Size", size_text(model.size)


def _drops(report: Report, model: ModelReport) -> Iterator[tuple[str, str]]:
    for each in model.sets[:_MOST]:
        drop = report.drop(model, each.name)
        first = report.models[0].set(each.name)
        if drop is not None and first is not None:
            before, after = shown(first.mean.psnr_y, 2), shown(each.mean.psnr_y, 2)
            caption = f"Drop on {each.name} ×{each.scale} ({before} → {after} dB)"
            yield caption, f"{shown(drop.psnr_y, 3)} dB"


def _shrunk(first: ModelReport, model: ModelReport) -> Iterator[tuple[str, str]]:
    if model.size is None:
        return
    if first.size is None:
        yield f"Size, {bits_of(model)}", size_text(model.size)
    else:
        ratio = first.size / max(model.size, 1)
        change = f"{ratio:.1f}× smaller" if ratio > 1.05 else "no smaller"
        yield f"Size ({size_text(first.size)} → {size_text(model.size)})", change


def _speed(first: ModelReport, model: ModelReport) -> Iterator[tuple[str, str]]:
    """Where an engine ran."""
    if model.seconds and model.engine:
        taken = f"{model.seconds:.3g} s a megapixel"
        if not first.seconds or first.engine is None or first.engine.engine != model.engine.engine:
            yield f"Time in {model.engine}", taken
        else:
            ratio = first.seconds / model.seconds
            words = f"{ratio:.2f}× faster" if ratio >= 1 else f"{1 / ratio:.2f}× slower"
            yield f"Time in {model.engine} ({first.seconds:.3g} → {taken})", words


def _took(report: Report) -> Iterator[tuple[str, str]]:
    seconds = report.details.get("seconds")
    if isinstance(seconds, int | float):
        yield "Quantized in", f"{seconds:.0f} s"


def _short(report: Report, model: ModelReport) -> Iterator[tuple[str, str]]:
    drops = [drop.psnr_y for each in model.sets if (drop := report.drop(model, each.name)) is not None]
    size = "" if model.size is None else f", {size_text(model.size)}"
    if drops:
        sets = model.sets[0].name if len(drops) == 1 else f"{len(drops)} sets"
        yield f"{model.name}{size}: drop on {sets}", f"{shown(sum(drops) / len(drops), 3)} dB"


PART = Part(10, verdict)
