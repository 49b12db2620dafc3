"""What is quantized of each network, and what that saves."""

from __future__ import annotations

from dfsq.report.findings import Findings, Part
from dfsq.report.report import size_text
from dfsq.report.section import Cell, Column, Section, Value, number

_TOLD = ("recipes", "quantization")
"""What reports of commands that quantize have in their details."""


def quantized(findings: Findings) -> Section | None:
    """A row per quantized model, and a note on what its file consists of. Commands that quantize tell that in tables of
    their own."""
    report = findings.report
    models = [model for model in report.models if model.multiply_adds is not None or model.artifact is not None]
    if not models or not report.details.keys().isdisjoint(_TOLD):
        return None
    shares = ("parameters", "multiply-adds", "BitOPs")
    columns = (Column("model"), Column("recipe"), *(Column(each, numeric=True) for each in shares))
    rows: list[tuple[Value, ...]] = [
        (model.name, model.recipe, *map(_cell, model.low_bits.values())) for model in models
    ]
    notes = [
        "Shares of the network that are at low bits; BitOPs: multiply-adds by the bits of both factors, to float32."
    ]
    for model in models:
        if model.parts:
            told = ", ".join(f"{kind} {size_text(size)}" for kind, size in model.parts.items() if size)
            notes.append(f"{model.name} consists of {told}.")
    return Section("What is quantized", columns, rows, notes)


def _cell(share: float | None) -> Cell:
    return number(share, f"{100 * (share or 0):.1f} %")


PART = Part(42, quantized)
