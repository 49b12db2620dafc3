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
        rows = _legend_rows(parts)
        height = 20 * len(rows) + 8 + _ROW * len(self.bars)
        x = svg.scale(0, max((sum(sizes.values()) for _, sizes in self.bars), default=0) or 1, 0, _WIDTH)
        elements: list[str] = []
        for index, row in enumerate(rows):
            left = 0.0
            for part in row:
                kind = f"c{parts.index(part) % svg.SERIES}"
                elements.append(f'<rect x="{left:.1f}" y="{20 * index + 3}" width="10" height="10" class="{kind}"/>')
                elements.append(svg.label(left + 14, 20 * index + 12, part))
                left += 32 + svg.width_of(part)
        for index, (name, sizes) in enumerate(self.bars):
            top = 20 * len(rows) + 8 + _ROW * index
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
        return svg.chart(_WIDTH, height, self._words(), elements)

    def _words(self) -> str:
        told = (
            f"{name}: {', '.join(f'{part} {self.shown(size)}' for part, size in sizes.items() if size)}"
            for name, sizes in self.bars
        )
        return f"{self.caption}: {'; '.join(told)}"


def _legend_rows(parts: Sequence[str]) -> list[list[str]]:
    """``parts`` in as many rows as they need."""
    rows: list[list[str]] = [[]]
    taken = 0.0
    for part in parts:
        needed = 32 + svg.width_of(part)
        if rows[-1] and taken + needed > _WIDTH:
            rows.append([])
            taken = 0.0
        rows[-1].append(part)
        taken += needed
    return rows
