"""What layers are given, and the levels that it is rounded to."""

from __future__ import annotations

from dfsq.report.charts.histogram import Histogram
from dfsq.report.findings import Findings, Part
from dfsq.report.section import Section
from dfsq.report.signals import Inputs


def activations(findings: Findings) -> Section | None:
    """A histogram for each of the layers whose inputs are rounded most coarsely."""
    if findings.signals is None or not findings.signals.inputs:
        return None
    pictures = [_chart(name, each) for name, each in findings.signals.inputs.items()]
    notes = (
        "The layers whose inputs are rounded most coarsely, and of each the channel of which that is true, on the "
        f"middle of {findings.signals.image}, in the units of the channel. Lines are what inputs are rounded to. "
        "What a layer costs the picture: dfsq analyze.",
    )
    return Section("Activations", notes=notes, pictures=pictures, only_page=True)


def _chart(name: str, inputs: Inputs) -> Histogram:
    channel, found = "" if inputs.channel is None else f", channel {inputs.channel}", inputs.histogram
    return Histogram(f"{name}{channel}, {inputs.bits} bits", found.edges, found.counts, found.points)


PART = Part(75, activations)
