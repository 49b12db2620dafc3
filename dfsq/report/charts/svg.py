"""What charts are drawn with: axes, marks with tooltips, and the SVG around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from dfsq.printable import printable

SERIES = 6
"""Colours that the style has for series, as classes ``c0`` to ``c5``."""
_ROW = 18.0
"""Pixels from a line of words to the next."""
Scale = Callable[[float], float]
"""A value's place in pixels."""


def chart(width: int, height: int, told: str, elements: Iterable[str], *, wide: bool = False) -> str:
    """An SVG of so many pixels; ``told`` says in words what it shows. ``wide``: it scrolls where there is no room,
    instead of shrinking."""
    kind = "chart wide" if wide else "chart"
    label = text(told)
    return (
        f'<div class="scroll"><svg class="{kind}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{label}">{"".join(elements)}</svg></div>'
    )


def text(words: str) -> str:
    """Words as they stand in SVG and in attributes."""
    return escape(printable(words))


def label(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{_class(kind)}>{text(words)}</text>'


def bar(x: float, y: float, width: float, height: float, kind: str, told: str) -> str:
    """A rectangle that tells something as a tooltip."""
    size = f'width="{max(width, 0):.1f}" height="{max(height, 0):.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size}{_class(kind)}>{_tooltip(told)}</rect>'


def dot(x: float, y: float, radius: float, kind: str, told: str) -> str:
    """A disc that tells something as a tooltip."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"{_class(kind)}>{_tooltip(told)}</circle>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str, told: str = "") -> str:
    """A line that may tell something as a tooltip."""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f"<line {ends}{_class(kind)}>{_tooltip(told)}</line>"


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round values that span ``low`` to ``high``, the outermost at or beyond them, about ``most`` of them."""
    if not high > low:
        high = low + (abs(low) or 1)
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def shown(value: float) -> str:
    """A tick's value without the traces of binary fractions."""
    return f"{value:.10g}" if abs(value) > 1e-12 else "0"


def scale(low: float, high: float, start: float, stop: float) -> Scale:
    """Maps ``low`` to ``start`` and ``high`` to ``stop``."""
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (stop - start)


def value_axis(values: Sequence[float], y: Scale, left: float, right: float) -> list[str]:
    """Lines across the chart at ``values``, which are written at their left."""
    marks = []
    for value in values:
        marks += [line(left, y(value), right, y(value), "grid"), label(left - 6, y(value) + 4, shown(value), "end")]
    return marks


def legend(names: Sequence[str], left: float, right: float) -> tuple[list[str], float]:
    """What colour is which series, in as many rows as that takes, and where the last row ends."""
    marks, x, y = [], left, 0.0
    for index, name in enumerate(names):
        words = shortened(name, 40)
        if x > left and x + 14 + width_of(words) > right:
            x, y = left, y + _ROW
        marks.append(f'<rect x="{x:.1f}" y="{y + 3:.1f}" width="10" height="10" class="c{index % SERIES}"/>')
        marks.append(label(x + 14, y + 12, words))
        x += 32 + width_of(words)
    return marks, y + _ROW


def width_of(words: str) -> float:
    """About how many pixels words take."""
    return 6.6 * len(words)


def shortened(words: str, most: int) -> str:
    """At most so many characters; the end of a name tells more than its middle."""
    if len(words) <= most:
        return words
    head = (most - 1) // 2
    return f"{words[:head]}…{words[len(words) - (most - 1 - head) :]}"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _tooltip(told: str) -> str:
    return f"<title>{text(told)}</title>" if told else ""
