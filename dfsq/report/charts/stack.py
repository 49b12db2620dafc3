"""Bars that are stacked of parts: what takes how much of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dfsq.report.charts import svg

_WIDTH, _BAR, _ROW = 420, 24, 52


@dataclass(frozen=True)
class Stack:
    """A bar per name, all to one scale, each made of parts."""

    caption: str
    bars: Sequence[tuple[str, Mapping[str, float]]]
    """Names and the sizes of the parts, none negative; parts of one name have one colour."""
    shown: Callable[[float], str]
    """A size as it is read."""

    def html(self) -> str:
        """The chart, with a legend of the parts."""
        parts = list(dict.fromkeys(part for _, sizes in self.bars for part, size in sizes.items() if size))
        x = svg.scale(0, max((sum(sizes.values()) for _, sizes in self.bars), default=0) or 1, 0, _WIDTH)
        elements, below = svg.legend(parts, 0, _WIDTH)
        for index, (name, sizes) in enumerate(self.bars):
            top = below + 4 + _ROW * index
            total = self.shown(sum(sizes.values()))
            elements.append(svg.label(0, top + 12, svg.shortened(name, 44)))
            elements.append(svg.label(_WIDTH, top + 12, total, "end", "strong"))
            start = 0.0
            for part, size in sizes.items():
                if size:
                    kind = f"c{parts.index(part) % svg.SERIES}"
                    told = f"{name}, {part}: {self.shown(size)}"
                    elements.append(svg.bar(x(start), top + 18, max(x(size) - 0.5, 0.5), _BAR, kind, told))
                start += size
        return svg.chart(_WIDTH, round(below) + _ROW * len(self.bars), self._words(), elements)

    def _words(self) -> str:
        told = (
            f"{name}: {', '.join(f'{part} {self.shown(size)}' for part, size in sizes.items() if size)}"
            for name, sizes in self.bars
        )
        return f"{self.caption}: {'; '.join(told)}"
