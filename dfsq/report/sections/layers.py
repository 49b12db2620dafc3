"""What the layers of artifacts are quantized to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from typing import Any

from dfsq.report.charts.layers import Layers
from dfsq.report.findings import Findings, Part
from dfsq.report.section import Cell, Column, Section, Value, number


def layers(findings: Findings) -> Section | None:
    """A chart of its bits per artifact, and a row per layer."""
    found = {
        model.name: _sorted(model.artifact["layers"])
        for model in findings.report.models
        if model.artifact and "layers" in model.artifact
    }
    if not found:
        return None
    several = len(found) > 1
    last = list(found)[-1]
    noise = findings.signals.noise if findings.signals is not None else {}
    pictures = [_chart(name, records, several, noise if name == last else {}) for name, records in found.items()]
    columns = (
        *((Column("file"),) if several else ()),
        Column("layer"),
        Column("weight"),
        *(Column(name, numeric=True) for name in ("parameters", "weight bits", "activation bits")),
    )
    rows = [(*((name,) if several else ()), *row) for name, records in found.items() for row in _rows(records)]
    notes = ["Layers that are not listed stay in full precision."]
    if findings.signals is not None:
        notes.append(
            "Noise: share of the variance of a layer's output that is not that in full precision, with what the layers "
            f"before have brought in; on the middle of {findings.signals.image}."
        )
    return Section("Bits per layer", columns, rows, notes, pictures, only_page=True)


def _sorted(records: Mapping[str, Any]) -> dict[str, Any]:
    """By name, numbers in names by their value."""

    def parts(name: str) -> list[tuple[int, str]]:
        return [(int(each), "") if each.isdecimal() else (-1, each) for each in re.split(r"(\d+)", name)]

    return {name: records[name] for name in sorted(records, key=parts)}


def _chart(name: str, records: Mapping[str, Any], several: bool, noise: Mapping[str, float]) -> Layers:
    bits = [
        ("weights", [record["w_bits"] for record in records.values()]),
        ("activations", [record["a_bits"] for record in records.values()]),
    ]
    caption = "Bits and noise per layer" if noise else "Bits per layer"
    known = [noise.get(each) for each in records] if noise else []
    errors = [None if each is None else 100 * each for each in known]
    return Layers(f"{caption}, {name}" if several else caption, list(records), bits, errors, "%", "noise")


def _rows(records: Mapping[str, Any]) -> list[tuple[Value, ...]]:
    rows: list[tuple[Value, ...]] = []
    for name, record in records.items():
        shape, activations = record["shape"], record["a_bits"]
        size = number(prod(shape), f"{prod(shape):,}")
        inputs = Cell("full") if activations is None else number(activations, str(activations))
        weights = number(record["w_bits"], str(record["w_bits"]))
        rows.append((name, "×".join(map(str, shape)), size, weights, inputs))
    return rows


PART = Part(70, layers)
