"""Bars in groups: a drop per set and model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dfsq.report.charts import svg

_LEFT, _GAP, _BOTTOM, _PLOT, _WIDTH = 52, 14, 26, 180, 420
_BAR = 40


@dataclass(frozen=True)
class Bars:
    """A group of bars per name, one of each series; upwards what is positive."""

    caption: str
    unit: str
    groups: Sequence[str]
    series: Sequence[tuple[str, Sequence[float | None]]]
    """Names and values, as many as there are groups; None where there is none."""

    def html(self) -> str:
        """The chart, wider where there are many bars."""
        count = len(self.groups) * max(len(self.series), 1)
        width = max(_WIDTH, _LEFT + 12 * count + 24 * len(self.groups))
        known = [value for _, values in self.series for value in values if value is not None]
        marks = svg.ticks(min(0.0, *known), max(0.0, *known)) if known else [0.0, 1.0]
        legend, top = svg.legend([name for name, _ in self.series] if len(self.series) > 1 else [""], _LEFT, width)
        floor = top + _GAP + _PLOT
        y = svg.scale(marks[0], marks[-1], floor, top + _GAP)
        room = (width - _LEFT - 8) / max(len(self.groups), 1)
        thick = min(_BAR, 0.8 * room / max(len(self.series), 1))
        elements = [*svg.value_axis(marks, y, _LEFT, width), svg.label(0, 12, self.unit)]
        if len(self.series) > 1:
            elements += legend
        for place, group in enumerate(self.groups):
            middle = _LEFT + 4 + room * (place + 0.5)
            start = middle - thick * len(self.series) / 2
            for index, (name, values) in enumerate(self.series):
                if (value := values[place]) is not None:
                    high, low = sorted((y(value), y(0)))
                    told = f"{group}, {name}: {self._told(value)}"
                    kind = f"c{index % svg.SERIES}"
                    elements.append(svg.bar(start + thick * index + 1, high, thick - 2, low - high, kind, told))
                    if len(self.series) == 1:
                        elements.append(svg.label(middle, high - 5, self._told(value), "middle"))
            elements.append(svg.label(middle, floor + 18, svg.shortened(group, max(4, int(room / 6.6))), "middle"))
        elements.append(svg.line(_LEFT, y(0), width, y(0), "axis"))
        return svg.chart(width, round(floor + _BOTTOM), self._words(), elements, wide=width > _WIDTH)

    def _told(self, value: float) -> str:
        return f"{value:.3f} {self.unit}"

    def _words(self) -> str:
        told = (
            f"{group}, {name}: {self._told(value)}"
            for name, values in self.series
            for group, value in zip(self.groups, values, strict=True)
            if value is not None
        )
        return f"{self.caption}: {'; '.join(told)}"
