"""How values of an activation are distributed, and the points that they are rounded to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dfsq.report.charts import svg

_LEFT, _TOP, _BOTTOM, _HEIGHT, _WIDTH = 52, 30, 24, 220, 420
_MANY = 40
"""Points from which their lines are thin."""
_TOLD = 6
"""Points on one pixel that are told."""


@dataclass(frozen=True)
class Histogram:
    """Counts between edges on a logarithmic scale, with a line at every quantization point."""

    caption: str
    edges: Sequence[float]
    """Ascending; one more than there are counts, of which there is one at least."""
    counts: Sequence[float]
    points: Sequence[float] = ()
    """Quantization points in the units of the edges; those outside are drawn too."""

    def html(self) -> str:
        """The chart."""
        least, largest = min(*self.edges, *self.points), max(*self.edges, *self.points)
        x = svg.scale(least, largest, _LEFT + 3, _WIDTH - 3)  # the outermost points are seen whole
        high = max(1, math.ceil(math.log10(max(1.0, *self.counts))))
        y = svg.scale(0, high, _HEIGHT - _BOTTOM, _TOP)
        elements = [svg.label(0, 12, "count"), *svg.legend(("values", "points"), _LEFT, _WIDTH)[0]]
        for power in range(high + 1):
            elements.append(svg.line(_LEFT, y(power), _WIDTH, y(power), "grid"))
            elements.append(svg.label(_LEFT - 6, y(power) + 4, _power(power), "end"))
        for low, up, count in zip(self.edges, self.edges[1:], self.counts, strict=False):
            if count > 0:
                top = y(max(math.log10(count), 0.02))
                told = f"{low:.4g} to {up:.4g}: {count:,.0f}"
                elements.append(svg.bar(x(low), top, max(x(up) - x(low) - 0.3, 0.5), y(0) - top, "c0", told))
        for place, here in _by_place(self.points, x).items():
            told = ", ".join(f"{each:.4g}" for each in here[:_TOLD]) + ", …" * (len(here) > _TOLD)
            kind = "point" if len(self.points) <= _MANY else "point thin"
            elements.append(svg.line(place, _TOP, place, y(0), kind, f"point{'s' * (len(here) > 1)} {told}"))
        for value in svg.ticks(least, largest):
            if least <= value <= largest:
                elements.append(svg.label(x(value), _HEIGHT - 6, svg.shown(value), "middle"))
        return svg.chart(_WIDTH, _HEIGHT, self._words(), elements)

    def _words(self) -> str:
        """What a reader who does not see it is told: the range, where half of the values lie, and all points."""
        total, half, seen = sum(self.counts), "", 0.0
        for low, up, count in zip(self.edges, self.edges[1:], self.counts, strict=False):
            seen += count
            if total and seen >= total / 2:
                half = f", half of them up to {(low + up) / 2:.4g}"
                break
        span = f"{total:,.0f} values from {self.edges[0]:.4g} to {self.edges[-1]:.4g}"
        told = ", ".join(f"{each:.4g}" for each in self.points)
        if len(self.points) > _MANY:
            told = f"from {min(self.points):.4g} to {max(self.points):.4g}"
        points = f"; {len(self.points)} points: {told}"
        return f"{self.caption}: {span}{half}{points if self.points else ''}"


def _by_place(points: Sequence[float], x: svg.Scale) -> dict[float, list[float]]:
    """Points by where they are drawn; many lie on the same pixel."""
    found: dict[float, list[float]] = {}
    for point in points:
        found.setdefault(round(x(point), 0 if len(points) > _MANY else 1), []).append(point)
    return found


def _power(power: int) -> str:
    return f"{10**power:,}" if power < 4 else f"1e{power}"
