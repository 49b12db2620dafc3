"""The report as a page: what it holds, and that it fetches nothing."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dfsq.engines.description import Description
from dfsq.report import gates
from dfsq.report.compared import Compared
from dfsq.report.findings import Findings
from dfsq.report.html import LIMIT, to_html
from dfsq.report.json_report import to_json
from dfsq.report.report import ModelReport, Report
from dfsq.report.section import CAPTIONS, Section
from dfsq.report.sections import sections
from dfsq.report.signals import Signals

Scored = Callable[..., ModelReport]
Rendered = Callable[[Findings], str]
Elements = Callable[[str], list[tuple[str, dict[str, str]]]]


def test_everything_is_inside(page: str, elements: Elements) -> None:
    for tag, attributes in elements(page):
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on"), f"{tag} {name}"
            assert name != "style"
            if name in ("src", "href", "srcset", "action", "data"):
                assert value.startswith("data:"), f"{tag} {name}={value[:60]}"
    style = re.search("<style>(.*?)</style>", page, re.DOTALL)
    assert style
    assert "url(" not in style[1] and "@import" not in style[1]
    assert "http" not in page.replace("http-equiv", "")


def test_the_verdict_comes_first_and_sections_in_order(page: str) -> None:
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Gates",
        "Images that lost most",
        "Scores",
        "What is quantized",
        "Every image",
        "Size by part",
        "Bits per layer",
        "Activations",
        "How it came about",
        "To get the same again",
    ]
    start = page[: page.index("<h2>")]
    shown = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", start)
    assert shown == [
        ("Drop on Set5 ×2 (32.00 → 31.86 dB)", "0.142 dB"),
        ("Size (4.0 kB → 1.0 kB)", "4.0× smaller"),
        ("Quantized in", "12 s"),
    ]
    for told in ("dfsq quantize full.pth --eval Set5", "ab" * 32, "cd" * 32, "torch 2.13", "w_bits 4", "patch 96×96"):
        assert told in page
    assert page.index("max-drop failed") < page.index("Images that lost most")


ENGINE = Description("openvino", "2026.4", "int8/f32", "AVX2")


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ((0.5, ENGINE), [("(int8/f32, AVX2) (0.5 → 0.2 s a megapixel)", "2.50× faster")]),
        ((0.1, ENGINE), [("(int8/f32, AVX2) (0.1 → 0.2 s a megapixel)", "2.00× slower")]),
        ((0.5, replace(ENGINE, engine="onnxruntime")), [("(int8/f32, AVX2)", "0.2 s a megapixel")]),
        ((None, None), [("(int8/f32, AVX2)", "0.2 s a megapixel")]),
    ],
)
def test_speed_is_shown_where_an_engine_ran(
    first: tuple[Any, Any],
    told: list[tuple[str, str]],
    drops: dict[str, float],
    scored: Scored,
    findings: Callable[..., Findings],
    rendered: Rendered,
) -> None:
    full = scored("full.onnx", dict.fromkeys(drops, 0.0), seconds=first[0], engine=first[1])
    low = scored("low.onnx", drops, seconds=0.2, engine=ENGINE)
    page = rendered(findings(report=Report((full, low)), checks=()))
    assert re.findall("<dt>Time in openvino 2026.4 (.*?)</dt><dd>(.*?)</dd>", page) == told
    in_torch = rendered(findings(report=Report((full, replace(low, seconds=None))), checks=()))
    assert "Time in" not in in_torch


@pytest.mark.parametrize("images", [5, 900, 40_000])
def test_the_json_is_there_whole(images: int, scored: Scored, elements: Elements) -> None:
    noise = np.random.default_rng(0).random(images)
    report = Report((scored("a", {f"image{index}": drop for index, drop in enumerate(noise.tolist())}),))
    document = to_json(report)
    page = to_html(sections(Findings(report)), "many", document)
    assert len(page.encode()) < LIMIT
    links = [attributes for tag, attributes in elements(page) if "download" in attributes]
    if images == 40_000:
        assert not links
        assert "too many for this page" in page
        return
    kind, _, content = links[0]["href"].partition(";base64,")
    data = base64.b64decode(content)
    if images == 900:
        assert (kind, links[0]["download"]) == ("data:application/gzip", "report.json.gz")
        data = gzip.decompress(data)
    assert data.decode() == document


def test_layers_are_in_the_order_of_their_numbers(page: str) -> None:
    table = page[page.index("<h2>Bits per layer") :]
    assert re.findall(r"<td>(b\.\d+)</td>", table) == ["b.1", "b.2", "b.10"]


def test_captions_have_no_head_and_cannot_be_sorted() -> None:
    page = to_html([Section("Facts", CAPTIONS, [("a", "b")])], "facts")
    assert "<thead>" not in page and '<table class="captions">' in page


def test_names_cannot_break_out(
    drops: dict[str, float],
    scored: Scored,
    compared: Callable[..., Compared],
    findings: Callable[..., Findings],
    rendered: Rendered,
    run: Callable[..., Any],
) -> None:
    name = "\"'><script>document.title='broken'</script>&amp;\0"
    usual = findings()
    artifact, signals = usual.report.models[-1].artifact, usual.signals
    assert artifact and signals
    low = scored(
        name, drops, artifact={**artifact, "layers": {name: artifact["layers"]["b.1"]}, "parts": {name: 5}}, size=5
    )
    report = Report((scored(name + "2", drops, size=6), low))
    found = Findings(
        report,
        name,
        facts={name: name},
        checks=gates.max_drop(report, 1),
        compared=[compared(name, 0.1)],
        names=(name, name),
        signals=Signals(name, {name: 0.1}, {name: signals.inputs["b.10"]}),
        command=name,
        checksums={name: name},
    )
    page = rendered(found)
    assert page.count("<script>") == 1
    script = "const count = (what) => document.querySelectorAll(what).length;"
    script += "return [document.title, count('script'), count('.version')]"
    title, scripts, versions = run(page, script)
    assert title.startswith("\"'><script>")
    assert (scripts, versions) == (2, 6)  # its own and the test's
