"""Charts: figures as shapes, tooltips and words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dfsq.report.charts.bars import Bars
from dfsq.report.charts.histogram import Histogram
from dfsq.report.charts.layers import Layers
from dfsq.report.charts.scatter import Mark, Scatter
from dfsq.report.charts.stack import Stack
from dfsq.report.findings import Findings
from dfsq.report.report import ModelReport, Report

Elements = Callable[[str], list[tuple[str, dict[str, str]]]]
Words = Callable[[Any], tuple[str, list[str]]]


CHARTS = {
    "bars": Bars("Drop", "dB", ["Set<5>", "Set14"], [("a", [0.1, None]), ("b", [-0.2, 0.3])]),
    "one bar": Bars("Drop", "dB", ["Set<5>"], [("a", [0.1])]),
    "no bars": Bars("Drop", "dB", [], []),
    "stack": Stack("Size", [("<full>", {"whole": 10}), ("low", {"codes": 2, "none": 0})], lambda size: f"{size} B"),
    "layers": Layers("Bits", ["<a>", "b"], [("weights", [4, 3]), ("activations", [4, None])], [0.1, None]),
    "many layers": Layers("Bits", [f"l{index}" for index in range(300)], [("weights", [4] * 300)]),
    "histogram": Histogram("<x>", [0.0, 0.5, 1.0], [100, 3], [0.0, 0.25, 2.0]),
    "empty histogram": Histogram("<x>", [0.0, 1.0], [0], []),
    "scatter": Scatter("<x>", "kB", "dB", [Mark("m", 10, 0.1, "s", "told"), Mark("n", 20, -0.1, "t", "too")]),
}


@pytest.mark.parametrize("name", CHARTS)
def test_charts_say_in_words_what_they_show(name: str, elements: Elements) -> None:
    found = elements(CHARTS[name].html())
    (svg,) = [attributes for tag, attributes in found if tag == "svg"]
    assert svg["role"] == "img"
    assert svg["aria-label"].startswith(CHARTS[name].caption)
    for tag, attributes in found:
        for key in ("x", "y", "width", "height", "cx", "cy", "x1", "y1", "x2", "y2"):
            assert np.isfinite(float(attributes.get(key, 0))), f"{tag} {attributes}"


@pytest.fixture
def words(elements: Elements) -> Words:
    """``words(chart)``: its text alternative and its tooltips."""

    def read(chart: Any) -> tuple[str, list[str]]:
        html = chart.html()
        (label,) = [attributes["aria-label"] for tag, attributes in elements(html) if tag == "svg"]
        return label, re.findall("<title>(.*?)</title>", html)

    return read


def test_figures_are_in_the_tooltips_and_in_the_text(words: Words) -> None:
    label, tips = words(CHARTS["bars"])
    assert tips == ["Set&lt;5&gt;, a: 0.100 dB", "Set&lt;5&gt;, b: -0.200 dB", "Set14, b: 0.300 dB"]
    assert label == "Drop: Set<5>, a: 0.100 dB; Set<5>, b: -0.200 dB; Set14, b: 0.300 dB"
    label, tips = words(CHARTS["layers"])
    assert tips == [
        "&lt;a&gt;: weights 4 bits, activations 4 bits, error 0.1 dB",
        "b: weights 3 bits, activations in full precision",
    ]
    label, tips = words(CHARTS["histogram"])
    assert tips == ["0 to 0.5: 100", "0.5 to 1: 3", "point 0", "point 0.25", "point 2"]
    assert label == "<x>: 103 values from 0 to 1, half of them up to 0.25; 3 points: 0, 0.25, 2"
    assert words(CHARTS["stack"])[1] == ["&lt;full&gt;, whole: 10 B", "low, codes: 2 B"]
    assert words(CHARTS["scatter"])[1] == ["m: told", "n: too"]


def test_bars_are_as_long_as_their_values(elements: Elements) -> None:
    chart = Bars("", "dB", ["x"], [("a", [0.1]), ("b", [0.3]), ("c", [-0.2])])
    bars = [attributes for tag, attributes in elements(chart.html()) if tag == "rect" and "c" in attributes["class"]]
    a, b, c = ([float(each["y"]), float(each["height"])] for each in bars[3:])  # after the legend's
    assert b[1] == pytest.approx(3 * a[1], abs=0.3)
    assert c[1] == pytest.approx(2 * a[1], abs=0.3)
    assert a[0] + a[1] == pytest.approx(b[0] + b[1], abs=0.2) == pytest.approx(c[0], abs=0.2)


def test_every_picture_of_a_page_has_words(page: str, elements: Elements) -> None:
    for tag, attributes in elements(page):
        if tag == "svg":
            assert attributes["role"] == "img" and len(attributes["aria-label"]) > 10
        if tag == "img":
            assert attributes["alt"].startswith("Set5: ")


def test_noise_and_inputs_are_charts(page: str) -> None:
    assert "<title>b.1: weights 8 bits, activations 8 bits</title>" in page
    assert "<title>b.2: weights 3 bits, activations 3 bits, noise 1 %</title>" in page
    assert "<title>b.10: weights 4 bits, activations 4 bits, noise 25 %</title>" in page
    assert "b.10, channel 7, 4 bits: 103 values from 0 to 1" in page


def test_many_points_are_thin_lines_and_told_in_short(words: Words) -> None:
    label, tips = words(Histogram("x", [0.0, 1.0], [5], [index / 999 for index in range(1000)]))
    assert label.endswith("1000 points: from 0 to 1")
    assert len(tips) < 400
    assert tips[1].startswith("points 0, 0.001")


def test_several_runs_are_marks_of_drop_against_size_and_time(
    drops: dict[str, float],
    scored: Callable[..., ModelReport],
    rendered: Callable[[Findings], str],
    elements: Elements,
) -> None:
    full = scored("full.pth", dict.fromkeys(drops, 0.0))
    runs = [scored(f"run{n}", {k: n * v for k, v in drops.items()}, size=1000 * n, seconds=1 / n) for n in (1, 2, 3)]
    report = Report((full, *runs), {"seconds": {"run1": 5.0, "run2": 9.0}})
    page = rendered(Findings(report, "compared"))
    charts = {}
    for caption in ("size", "time in the engine", "time to quantize"):
        start = page.index(f"<figcaption>Drop against {caption}</figcaption>")
        charts[caption] = elements(page[start : page.index("</figure>", start)])
    marks = {name: [attributes for tag, attributes in found if tag == "circle"] for name, found in charts.items()}
    assert [len(each) for each in marks.values()] == [3, 3, 2]
    for name, order in (("size", 1), ("time in the engine", -1)):
        places = [float(each["cx"]) for each in marks[name]]
        assert places == sorted(places)[::order]
        heights = [float(each["cy"]) for each in marks[name]]  # downwards
        assert heights == sorted(heights, reverse=True)
    assert "<title>run2: drop on Set5 0.284 dB, size 2 kB</title>" in page
    assert "<title>run2: drop on Set5 0.284 dB, time to quantize 9 s</title>" in page
