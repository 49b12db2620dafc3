"""Runs as marks: what each costs against what it loses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dfsq.report.charts import svg

_LEFT, _GAP, _BOTTOM, _PLOT, _WIDTH = 52, 14, 40, 230, 460
Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""


@dataclass(frozen=True)
class Mark:
    """One run."""

    name: str
    x: float
    y: float
    series: str
    """Marks of one series have one colour."""
    told: str
    """Its figures in words."""


@dataclass(frozen=True)
class Scatter:
    """A mark per run; what is good lies at the lower left."""

    caption: str
    x_axis: str
    """What is across, with its unit."""
    y_axis: str
    marks: Sequence[Mark]

    def html(self) -> str:
        """The chart; marks are labelled where their labels have room."""
        series = list(dict.fromkeys(mark.series for mark in self.marks))
        legend, below = svg.legend(series, svg.width_of(self.y_axis) + 24, _WIDTH)
        top, floor = below + _GAP, below + _GAP + _PLOT
        across = svg.ticks(0.0, max((mark.x for mark in self.marks), default=1.0))
        heights = [mark.y for mark in self.marks]
        up = svg.ticks(min([0.0, *heights]), max([0.0, *heights]))
        x = svg.scale(across[0], across[-1], _LEFT, _WIDTH - 16)
        y = svg.scale(up[0], up[-1], floor, top)
        elements = [*svg.value_axis(up, y, _LEFT, _WIDTH), svg.label(0, 12, self.y_axis)]
        elements += [svg.label(x(value), floor + 16, svg.shown(value), "middle") for value in across]
        elements.append(svg.label(_WIDTH, floor + 34, self.x_axis, "end"))
        elements.append(svg.line(_LEFT, y(0), _WIDTH, y(0), "axis"))
        if len(series) > 1:
            elements += legend
        taken: list[Box] = []
        for mark in self.marks:
            kind = f"c{series.index(mark.series) % svg.SERIES}"
            elements.append(svg.dot(x(mark.x), y(mark.y), 6, kind, f"{mark.name}: {mark.told}"))
            taken.append((x(mark.x) - 6, y(mark.y) - 6, x(mark.x) + 6, y(mark.y) + 6))
        for mark in self.marks:
            elements += _label(mark.name, x(mark.x), y(mark.y), taken, (below, floor))
        told = "; ".join(f"{mark.name}: {mark.told}" for mark in self.marks)
        return svg.chart(_WIDTH, round(floor + _BOTTOM), f"{self.caption}: {told}", elements)


def _label(name: str, x: float, y: float, taken: list[Box], inside: tuple[float, float]) -> list[str]:
    """The name beside its mark where it covers nothing and stays ``inside``, or nothing."""
    name = svg.shortened(name, 24)
    width = svg.width_of(name)
    for left, top in ((x + 9, y - 6), (x - 9 - width, y - 6), (x - width / 2, y - 21), (x - width / 2, y + 9)):
        box = (left, top, left + width, top + 12)
        free = all(box[2] < each[0] or each[2] < box[0] or box[3] < each[1] or each[3] < box[1] for each in taken)
        if free and left >= _LEFT and box[2] <= _WIDTH and top >= inside[0] and box[3] <= inside[1]:
            taken.append(box)
            return [svg.label(left, top + 10, name)]
    return []
