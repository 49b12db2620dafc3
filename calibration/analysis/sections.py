"""An analysis as sections of a report, and as a JSON document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from calibration.analysis.analysis import Analysis, LayerAnalysis
from calibration.analysis.scenes import SIDE
from dfsq.report.charts.histogram import Histogram as HistogramChart
from dfsq.report.charts.layers import Layers
from dfsq.report.finite import finite
from dfsq.report.report import shown
from dfsq.report.section import Cell, Column, Section, Value, number
from dfsq.report.signals import Histogram
from dfsq.version import __version__

SCHEMA = "dfsq-analyze/1"
_NOTICED = 0.01
"""Share of the error that is worth a line."""
_BAR = 32
"""Characters of the longest bar of a histogram as text."""


def sections(analysis: Analysis, most: int | None = None) -> list[Section]:
    """What hurts, what the layers are given, and what to know of both; ``most``: rows of each table."""
    layers = analysis.layers[:most]
    notes = [
        f"Full precision {analysis.full:.3f} dB Y-PSNR, quantized {analysis.quantized:.3f} dB: drop "
        f"{analysis.drop:.3f} dB, on the middles ({SIDE}×{SIDE}) of {', '.join(analysis.images)}.",
        "Error: mean squared difference of the output from that in full precision. Alone: this layer quantized, all "
        "others in full precision, as a share of the error of the quantized network. Removed: how much less that is "
        "with this layer in full precision. dB: the same two as Y-PSNR lost and won back.",
    ]
    if analysis.agreement is not None:
        notes.append(f"Predicted and measured errors rank the layers alike: Spearman {analysis.agreement:.2f}.")
    if analysis.rest > _NOTICED * analysis.error:
        notes.append(
            f"{100 * analysis.rest / analysis.error:.0f} % of the error is of what training has changed in layers that "
            "stay in full precision."
        )
    if len(layers) < len(analysis.layers):
        notes.append(f"The first {len(layers)} of {len(analysis.layers)} layers.")
    if analysis.unreached:
        notes.append(f"No image reaches {', '.join(analysis.unreached)}.")
    return [_costs(analysis, layers, notes), _signals(layers)]


def every_figure(analysis: Analysis) -> Section:
    """A row per layer with all figures, for programs."""
    columns = tuple(Column(each.name, each.name not in ("name", "kind", "shape")) for each in fields(LayerAnalysis))
    rows = [[_plain(each.name, getattr(layer, each.name)) for each in fields(layer)] for layer in analysis.layers]
    return Section("Layers", columns, rows)


def to_json(analysis: Analysis, details: dict[str, Any]) -> str:
    """The whole analysis, unrounded, with ``details`` of the caller's. What is infinite becomes null."""
    document = {
        "schema": SCHEMA,
        "dfsq": __version__,
        **details,
        "full": analysis.full,
        "quantized": analysis.quantized,
        "drop": analysis.drop,
        "error": analysis.error,
        "rest": analysis.rest,
        "agreement": analysis.agreement,
        "images": analysis.images,
        "unreached": analysis.unreached,
        "layers": [asdict(each) for each in analysis.layers],
        "proposal": None if analysis.proposal is None else asdict(analysis.proposal),
    }
    return json.dumps(finite(document), indent=2, allow_nan=False) + "\n"


def histogram_section(name: str, found: Histogram) -> Section:
    """Where the inputs of the layer ``name`` lie and where its levels are, as bars of text and as a chart."""
    largest, total = max(found.counts), sum(found.counts)
    edges = zip(found.edges, found.edges[1:], strict=False)
    rows = [
        (
            f"{low:+.3g} to {high:+.3g}",
            number(count / total, f"{100 * count / total:.2f}"),
            "█" * round(_BAR * count / largest) or "▏" * bool(count),
            number(levels, f"{levels:.3g}" if levels else ""),
        )
        for (low, high), count, levels in zip(edges, found.counts, found.levels, strict=True)
    ]
    columns = (Column("inputs"), Column("%", True), Column("share"), Column("levels", True))
    notes = [f"In units {found.units}; levels: how many of a channel's lie in the bin, on average."]
    picture = HistogramChart("", found.edges, found.counts, found.points)
    return Section(f"{name}: inputs and levels", columns, rows, notes, [picture])


def histogram_json(name: str, found: Histogram) -> str:
    """The histogram of the layer ``name``, with all its levels."""
    return json.dumps({"schema": SCHEMA, "dfsq": __version__, "layer": name, **asdict(found)}, indent=2) + "\n"


def _costs(analysis: Analysis, layers: Sequence[LayerAnalysis], notes: Sequence[str]) -> Section:
    columns = (
        Column("layer"),
        Column("bits"),
        *(Column(name, True) for name in ("removed %", "alone %", "predicted %", "won dB", "lost dB")),
    )
    whole = analysis.error or 1.0
    rows = [
        (
            each.name,
            _bits(each),
            _share(each.removed / whole),
            _share(each.error / whole),
            _share(None if each.predicted is None else each.predicted / whole),
            _decibels(each.recovered, 3),
            _decibels(each.alone, 3),
        )
        for each in layers
    ]
    ordered = sorted(layers, key=lambda each: each.position)
    bits = [("weights", [each.w_bits for each in ordered]), ("activations", [each.a_bits for each in ordered])]
    removed = [100 * each.removed / whole for each in ordered]
    picture = Layers("", [each.name for each in ordered], bits, removed, "%", "error removed")
    return Section("What hurts", columns, rows, notes, [picture])


def _signals(layers: Sequence[LayerAnalysis]) -> Section:
    names = ("parameters", "multiply-adds %", "weights dB", "inputs dB", "least", "largest", "varies %")
    columns = (Column("layer"), Column("kind"), Column("shape"), *(Column(name, True) for name in names))
    rows = [
        (
            each.name,
            each.kind,
            "×".join(map(str, each.shape)),
            number(each.parameters, f"{each.parameters:,}"),
            _share(each.multiply_adds),
            _decibels(each.weight_sqnr, 1),
            _decibels(each.input_sqnr, 1),
            number(each.low, f"{each.low:.4g}"),
            number(each.high, f"{each.high:.4g}"),
            number(100 * each.spread, f"{100 * each.spread:.0f}"),
        )
        for each in layers
    ]
    notes = [
        "dB: signal over quantization noise. Compensation moves weights on purpose, and error feedback trades noise of "
        "inputs for noise that matters less: both lower these figures and the error of the output. Varies: standard "
        "deviation of the width of the range over the images, against its mean."
    ]
    return Section("Signals", columns, rows, notes)


def _bits(layer: LayerAnalysis) -> str:
    weights = "" if layer.w_bits is None else f"W{layer.w_bits}"
    return weights + ("" if layer.a_bits is None else f"A{layer.a_bits}")


def _share(value: float | None) -> Cell:
    return number(value, "" if value is None else f"{100 * value:.1f}")


def _decibels(value: float | None, digits: int) -> Cell:
    return number(value, shown(value, digits))


def _plain(name: str, value: Any) -> Value:
    if isinstance(value, tuple):
        return "×".join(map(str, value))
    return value if isinstance(value, str) else Cell("" if value is None else str(value), value)
