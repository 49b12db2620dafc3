"""Layers one after the other: their bits, and what each of them costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dfsq.report.charts import svg

_LEFT, _TOP, _PANEL, _GAP, _WIDTH = 52, 30, 130, 34, 420
_SLOT = (7.0, 26.0)
"""Least and most pixels for a layer."""


@dataclass(frozen=True)
class Layers:
    """A slot per layer, in the order of the network: bars for its bits, and below them one for its error."""

    caption: str
    names: Sequence[str]
    bits: Sequence[tuple[str, Sequence[float | None]]]
    """``weights`` and ``activations``, or one of them: bits per layer, None in full precision."""
    errors: Sequence[float | None] = ()
    """What the quantization of each layer costs; empty: unknown, and no second panel."""
    unit: str = "dB"
    """Of the errors."""
    errors_are: str = "error"
    """What the errors are called."""

    def html(self) -> str:
        """The chart, wider than a narrow page where there are many layers."""
        slot = min(_SLOT[1], max(_SLOT[0], (_WIDTH - _LEFT) / max(len(self.names), 1)))
        width = round(max(_WIDTH, _LEFT + slot * len(self.names) + 8))
        height = _TOP + _PANEL + (_GAP + _PANEL if self.errors else 0) + 12
        elements = [svg.label(0, 12, "bits"), *svg.legend([name for name, _ in self.bits], _LEFT, width)[0]]
        elements += self._bits(slot, width)
        if self.errors:
            top = _TOP + _PANEL + _GAP
            elements.append(svg.label(0, top - 12, f"{self.errors_are}, {self.unit}"))
            elements += self._errors(top, slot, width)
        for index, told in enumerate(self._told()):
            elements.append(svg.bar(_LEFT + slot * index, _TOP - 6, slot, height - _TOP, "hit", told))
        words = f"{self.caption}: {'; '.join(self._told())}"
        return svg.chart(width, height, words, elements, wide=width > _WIDTH)

    def _bits(self, slot: float, width: float) -> Iterator[str]:
        y = svg.scale(0, 8, _TOP + _PANEL, _TOP)
        yield from svg.value_axis((0, 2, 4, 6, 8), y, _LEFT, width)
        thick = (slot - 2) / max(len(self.bits), 1)
        for series, (_, values) in enumerate(self.bits):
            for index, value in enumerate(values):
                if value is not None:
                    top = y(min(value, 8))
                    left = _LEFT + slot * index + 1 + thick * series
                    yield svg.bar(left, top, thick - 0.5, y(0) - top, f"c{series % svg.SERIES}", "")

    def _errors(self, top: float, slot: float, width: float) -> Iterator[str]:
        known = [value for value in self.errors if value is not None]
        marks = svg.ticks(min(0.0, *known), max(0.0, *known), 4) if known else [0.0, 1.0]
        y = svg.scale(marks[0], marks[-1], top + _PANEL, top)
        yield from svg.value_axis(marks, y, _LEFT, width)
        for index, value in enumerate(self.errors):
            if value is not None:
                high, low = sorted((y(value), y(0)))
                yield svg.bar(_LEFT + slot * index + 1, high, slot - 2, low - high, "c2", "")

    def _told(self) -> list[str]:
        """A layer's figures, for every layer."""
        told = []
        for index, name in enumerate(self.names):
            figures = [f"{kind} {_bits(values[index])}" for kind, values in self.bits]
            if self.errors and (error := self.errors[index]) is not None:
                figures.append(f"{self.errors_are} {error:.3g} {self.unit}")
            told.append(f"{name}: {', '.join(figures)}")
        return told


def _bits(value: float | None) -> str:
    return "in full precision" if value is None else f"{value:g} bits"
