"""The report as a page: what it holds, how it behaves in a browser, and that it fetches nothing."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dfsq.engines.description import Description
from dfsq.evaluation.results import ImageResult, Scores, SetResult
from dfsq.report import gates, html
from dfsq.report.charts.bars import Bars
from dfsq.report.charts.histogram import Histogram
from dfsq.report.charts.layers import Layers
from dfsq.report.charts.scatter import Mark, Scatter
from dfsq.report.charts.stack import Stack
from dfsq.report.compared import Compared, busiest
from dfsq.report.encoding import lossless
from dfsq.report.error_map import STEPS, colours, error_map
from dfsq.report.findings import Findings
from dfsq.report.html import LIMIT, to_html
from dfsq.report.json_report import to_json
from dfsq.report.report import ModelReport, Report
from dfsq.report.section import CAPTIONS, Cell, Column, Section
from dfsq.report.sections import sections
from dfsq.report.signals import Inputs, Signals
from dfsq.report.viewer import Viewer

Run = Callable[..., Any]
WIDTHS = (400, 800, 1280, 1600)
LAYERS = {
    name: {"shape": [8, 8, 3, 3], "w_bits": bits, "a_bits": bits}
    for name, bits in (("b.10", 4), ("b.2", 3), ("b.1", 8))
}
ARTIFACT = {
    "layers": LAYERS,
    "parts": {"codes": 600, "points and ranges": 300, "shares": 0, "other": 100},
    "recipe": {"name": "accurate", "w_bits": 4},
    "calibration": {"patches": 32, "patch": [96, 96]},
    "source": {"file": "full.pth", "sha256": "ab" * 32},
    "versions": {"dfsq": "0.1.0"},
}
INPUTS = Inputs((0.0, 0.5, 1.0), (100, 3), (0.0, 0.25, 1.0), 4, 7)
DROPS = {"zebra": 0.02, "comet": 0.5, "lenna": -0.01, "baby10": 0.1, "baby9": 0.1}


def scored(name: str, drops: dict[str, float], **about: Any) -> ModelReport:
    images = tuple(
        ImageResult(image, Scores(30 + index - drop, 0.9, 28, 0.8)) for index, (image, drop) in enumerate(drops.items())
    )
    return ModelReport(name, "edsr", 2, (SetResult("Set5", 2, True, images),), **about)


def picture(height: int = 64, width: int = 96, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def compared(name: str, drop: float, height: int = 64, width: int = 96) -> Compared:
    hr, first = picture(height, width), picture(height, width, 1)
    scores = Scores(30, 0.9, 28, 0.8), Scores(30 - drop, 0.9, 28, 0.8)
    return Compared("Set5", name, hr, first, first ^ 1, scores)


def findings(**changes: Any) -> Findings:
    full = scored("full.pth", dict.fromkeys(DROPS, 0.0), size=4000)
    low = scored("low.safetensors", DROPS, size=1000, w_bits=4, a_bits=4, artifact=ARTIFACT)
    report = Report((full, low), {"seconds": 12.3})
    usual: dict[str, Any] = {
        "report": report,
        "title": "full.pth at W4A4",
        "facts": {"recipe": "accurate"},
        "checks": gates.max_drop(report, 0.1),
        "compared": [compared("comet", 0.5), compared("zebra", 0.02)],
        "names": ("full.pth", "low.safetensors"),
        "signals": Signals("Set5: comet", {"b.2": 0.01, "b.10": 0.25}, {"b.10": INPUTS}),
        "command": "dfsq quantize full.pth --eval Set5",
        "checksums": {"full.pth": "cd" * 32},
        "versions": {"torch": "2.13"},
    }
    return Findings(**{**usual, **changes})


def rendered(found: Findings) -> str:
    return to_html(sections(found), found.title, to_json(found.report, found.checks))


@pytest.fixture(scope="module")
def page() -> str:
    return rendered(findings())


class Elements(HTMLParser):
    """All start tags with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))


def test_everything_is_inside(page: str) -> None:
    for tag, attributes in Elements(page).found:
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
def test_speed_is_shown_where_an_engine_ran(first: tuple[Any, Any], told: list[tuple[str, str]]) -> None:
    full = scored("full.onnx", dict.fromkeys(DROPS, 0.0), seconds=first[0], engine=first[1])
    low = scored("low.onnx", DROPS, seconds=0.2, engine=ENGINE)
    page = rendered(findings(report=Report((full, low)), checks=()))
    assert re.findall("<dt>Time in openvino 2026.4 (.*?)</dt><dd>(.*?)</dd>", page) == told
    in_torch = rendered(findings(report=Report((full, replace(low, seconds=None))), checks=()))
    assert "Time in" not in in_torch


@pytest.mark.parametrize("images", [5, 900, 40_000])
def test_the_json_is_there_whole(images: int) -> None:
    noise = np.random.default_rng(0).random(images)
    report = Report((scored("a", {f"image{index}": drop for index, drop in enumerate(noise.tolist())}),))
    document = to_json(report)
    page = to_html(sections(Findings(report)), "many", document)
    assert len(page.encode()) < LIMIT
    links = [attributes for tag, attributes in Elements(page).found if "download" in attributes]
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


def test_pixels_survive() -> None:
    image = picture()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(lossless(image)[1]))), image)


def shots(page: str) -> list[tuple[str, Image.Image]]:
    """Class and picture of every image in a page."""
    found = re.findall(r'<figure class="version ([\w-]+)"><img [^>]*src="data:[^;]*;base64,([^"]*)"', page)
    return [(kind, Image.open(io.BytesIO(base64.b64decode(data)))) for kind, data in found]


def is_part(part: np.ndarray[Any, Any], image: np.ndarray[Any, Any]) -> bool:
    height, width = part.shape[:2]
    corners = np.argwhere((image[: image.shape[0] - height + 1, : image.shape[1] - width + 1] == part[0, 0]).all(2))
    return any(np.array_equal(image[row : row + height, column : column + width], part) for row, column in corners)


def test_large_images_are_cut_to_what_fits_and_the_rest_is_whole() -> None:
    images = [compared("large", 0.5, 1024, 1024), compared("small", 0.4), compared("larger", 0.3, 2000, 1600)]
    page = rendered(findings(compared=images))
    assert 0.8 * LIMIT < len(page.encode()) <= LIMIT
    before = [np.asarray(image) for kind, image in shots(page) if kind == "before"]
    assert [each.shape == image.first.shape for each, image in zip(before, images, strict=True)] == [False, True, False]
    for each, image in zip(before, images, strict=True):
        assert is_part(each, image.first)
    assert min(before[0].shape[:2] + before[2].shape[:2]) >= 96
    assert f"The {before[0].shape[1]}×{before[0].shape[0]} pixels of 1024×1024" in page


def test_nothing_is_shown_of_images_that_do_not_fit() -> None:
    assert Viewer([compared("x", 0.1, 500, 500)], ("a", "b")).html_within(20_000) == ""


def test_the_part_that_is_shown_is_where_they_differ() -> None:
    error = np.zeros((400, 600))
    error[301:310, 420:440] = 1
    rows, columns = busiest(error, 96, 96)
    assert rows.start <= 301 and rows.stop >= 310 and columns.start <= 420 and columns.stop >= 440
    assert busiest(error, 999, 999) == (slice(0, 400), slice(0, 600))


def test_error_maps_have_the_colours_of_their_scale() -> None:
    first = np.full((8, 8, 3), 100, np.uint8)
    second = first.copy()
    second[:4] += 10  # grey: 219 levels of luma for 255 of each colour
    found = error_map(first, second, end=20.0)
    pixels = np.asarray(Image.open(io.BytesIO(found.png)).convert("RGB"))
    assert pixels.shape == (4, 4, 3)
    step = int(10 * 219 / 255 / (20 / STEPS))
    assert (pixels[:2] == colours()[step]).all()
    assert (pixels[2:] == colours()[0]).all()
    brightness = colours().astype(int) @ (299, 587, 114)
    assert (np.diff(brightness) > 0).all()


# In a browser


def test_the_policy_lets_the_page_work_and_nothing_else(page: str, opened: Run) -> None:
    log = ("--enable-logging=stderr", "--log-level=0", "--dump-dom")
    own = opened(page, *log)
    assert "CONSOLE" not in own.stderr
    assert 'class="viewer live' in own.stdout  # its script ran
    added = "<img src='https://example.invalid/x.png'><script>document.title = 'foreign'</script>"
    added += "<style>p { color: red }</style>"
    other = opened(page + added, *log)
    assert other.stderr.count("violates the following Content Security Policy directive") == 3
    assert "<title>foreign" not in other.stdout


SIZES = """
  const images = document.querySelectorAll(".version img");
  return {
    broken: [...images].filter((image) => image.naturalWidth === 0).length,
    across: document.documentElement.scrollWidth - innerWidth,
    width: innerWidth,
    drop: document.querySelector("dd").textContent,
    bottom: document.querySelector("dl").getBoundingClientRect().bottom / innerHeight,
    small: [...document.querySelectorAll("p, td, th, dt, dd, svg text, button")].filter((each) => {
      const scale = each.ownerSVGElement ? each.getScreenCTM().a : 1;
      return each.offsetParent !== null && parseFloat(getComputedStyle(each).fontSize) * scale < 9;
    }).length,
  };
"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_width_shows_the_drop_and_scrolls_down_only(page: str, run: Run, width: int, dark: bool) -> None:
    found = run(page, SIZES, width=width, height=700, dark=dark)
    assert found["width"] == width
    assert (found["broken"], found["across"], found["small"]) == (0, 0, 0)
    assert found["drop"] == "0.142 dB"
    assert found["bottom"] < 0.75


CONTRAST = """
  const channels = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (text) => channels(text).map((c) => linear(c / 255))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (each) => {
    const own = getComputedStyle(each).backgroundColor;
    return own !== "rgba(0, 0, 0, 0)" ? own : ground(each.parentElement);
  };
  const ratio = (each, kind) => {
    const [a, b] = [light(getComputedStyle(each)[kind]), light(ground(each))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const words = [...document.querySelectorAll("h1, h2, p, td, th, dt, dd, a, .bar button, .tag")]
    .filter((each) => each.offsetParent);
  const marks = [...document.querySelectorAll("rect[class^=c]")];
  return {
    ground: light(ground(document.body)),
    words: Math.min(...words.map((each) => ratio(each, "color"))),
    marks: Math.min(...marks.map((each) => ratio(each, "fill"))),
  };
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_words_and_marks_stand_out(page: str, run: Run, dark: bool) -> None:
    found = run(page, CONTRAST, dark=dark)
    assert (found["ground"] < 0.1) == dark
    assert found["words"] >= 4.5
    assert found["marks"] >= 3


SORTED = """
  const section = [...document.querySelectorAll("section")]
    .find((each) => each.querySelector("h2")?.textContent === "TITLE");
  const heads = [...section.querySelectorAll("th")];
  const found = {};
  for (const head of heads) {
    for (const click of [1, 2]) {
      head.querySelector("button").click();
      const order = heads.map((each) => each.ariaSort).filter((each) => each);
      found[`${head.textContent} ${click}`] = [
        order.join(), [...section.querySelectorAll("tbody tr")].map((row) => row.cells[NAME].textContent)];
    }
  }
  return found;
"""


def test_the_table_of_images_is_sorted_by_any_column(page: str, run: Run) -> None:
    found = run(page, SORTED.replace("TITLE", "Every image").replace("NAME", "1"))
    by_drop = ["comet", "baby10", "baby9", "zebra", "lenna"]
    by_name = ["baby9", "baby10", "comet", "lenna", "zebra"]
    by_score = list(DROPS)  # 30, 31, 32 … dB in full precision
    assert found["image 1"] == ["ascending", by_name]
    assert found["image 2"] == ["descending", by_name[::-1]]
    assert found["drop 1"] == ["descending", by_drop]
    assert found["drop 2"][0] == "ascending"
    assert found["drop 2"][1][0] == "lenna" and found["drop 2"][1][-1] == "comet"
    assert found["Y-PSNR, full.pth 1"] == ["descending", by_score[::-1]]
    assert found["Y-PSNR, full.pth 2"] == ["ascending", by_score]


def test_what_is_missing_is_sorted_last(run: Run) -> None:
    rows = [("a", Cell("–")), ("b", Cell("1.0", 1.0)), ("c", Cell("-2.0", -2.0)), ("d", Cell("∞", float("inf")))]
    page = to_html([Section("Some", (Column("name"), Column("value", True)), rows)], "some")
    found = run(page, SORTED.replace("TITLE", "Some").replace("NAME", "0"))
    assert found["value 1"] == ["descending", ["d", "b", "c", "a"]]
    assert found["value 2"] == ["ascending", ["c", "b", "d", "a"]]


STATE = """
  const state = () => {
    const shot = document.querySelector(".shot.current");
    const stage = shot.querySelector(".stage");
    const seen = (kind) => {
      const version = shot.querySelector(".version." + kind);
      if (getComputedStyle(version).visibility !== "visible") return 0;
      const cut = parseFloat((getComputedStyle(version).clipPath.match(/([\\d.]+)px\\)?$/) ?? [0, 0])[1]);
      return 1 - Math.min(1, Math.max(0, cut - stage.scrollLeft) / stage.clientWidth);
    };
    return {
      title: shot.querySelector("h3").textContent,
      after: seen("after"), before: seen("before"), hr: seen("hr"), change: seen("change"), error: seen("error-after"),
      tags: [...shot.querySelectorAll(".tag")].map((each) => each.textContent),
      scales: [...shot.querySelectorAll(".scale")].filter((each) => each.offsetParent).length,
      width: shot.querySelector(".version img").getBoundingClientRect().width,
      range: document.querySelector("input[type=range]").value,
    };
  };
  const press = (key, target = document.body) =>
    target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  const found = [state()];
  for (const [key, where] of KEYS) {
    press(key, where ? document.querySelector(".shot.current " + where) : document.body);
    found.push(state());
  }
  return found;
"""


def keys(run: Run, page: str, *pressed: str, at: str = "", **options: Any) -> list[dict[str, Any]]:
    """The viewer at first, and after each key."""
    states: list[dict[str, Any]] = run(
        page, STATE.replace("KEYS", json.dumps([(key, at) for key in pressed])), **options
    )
    return states


def test_keys_flip_between_before_and_after(page: str, run: Run) -> None:
    first, after, before, again = keys(run, page, "f", "F", "f")
    assert (first["after"], first["range"]) == (pytest.approx(0.5, abs=0.01), "50")
    assert first["tags"] == ["full.pth, 30.00 dB", "low.safetensors, 29.50 dB"]
    assert (after["after"], after["tags"]) == (1, ["", "low.safetensors, 29.50 dB"])
    assert (before["after"], before["before"], before["tags"]) == (0, 1, ["full.pth, 30.00 dB", ""])
    assert again == after


def test_keys_move_the_slider_where_it_has_the_focus(page: str, run: Run) -> None:
    first, *moved = keys(run, page, *["ArrowRight"] * 2, *["ArrowLeft"] * 15, at=".stage")
    assert moved[1]["after"] == pytest.approx(0.4, abs=0.01)
    assert moved[-1]["after"] == 1
    assert keys(run, page, "ArrowRight")[1] == first  # elsewhere arrows scroll the page


def test_keys_zoom_and_choose_what_is_shown(page: str, run: Run) -> None:
    first, closer, back, far, *_ = keys(run, page, "+", "-", "-", "-", "-", "-", "-")
    assert closer["width"] > first["width"] == back["width"] > far["width"]
    smallest = keys(run, page, *"-" * 9)[-1]["width"]
    assert smallest == 48  # half of 96 pixels, and no smaller
    _, errors, change, hr, images, following, round_ = keys(run, page, "e", "c", "h", "i", "n", "n")
    assert (errors["error"], errors["after"], errors["scales"]) == (pytest.approx(0.5, abs=0.01), 0, 1)
    assert (change["change"], change["error"], change["scales"]) == (1, 0, 1)
    assert (hr["hr"], hr["tags"], hr["scales"]) == (1, ["HR", ""], 0)
    assert images == first
    assert following["title"] == "Set5: zebra, drop 0.020 dB"
    assert round_["title"] == first["title"] == "Set5: comet, drop 0.500 dB"


def test_keys_are_left_alone_with_modifiers(page: str, run: Run) -> None:
    script = STATE.replace("{ key, bubbles", "{ key, ctrlKey: true, bubbles").replace("KEYS", '[["f", ""], ["+", ""]]')
    first, *others = run(page, script)
    assert others == [first, first]


def test_images_are_at_full_size_where_the_page_is_narrow(run: Run) -> None:
    page = rendered(findings(compared=[compared("wide", 0.1, 64, 900)]))
    (first,) = keys(run, page, width=400)
    assert first["width"] == 900
    assert run(page, SIZES, width=400)["across"] == 0


def test_buttons_say_what_is_pressed(page: str, run: Run) -> None:
    script = """
      const buttons = (selector) => [...document.querySelectorAll(".bar button" + selector)];
      const pressed = () => buttons("[aria-pressed=true]").map((each) => each.textContent);
      const click = (label) => buttons("").find((each) => each.textContent === label).click();
      const found = [pressed()];
      for (const label of ["Errors", "Set5: zebra, drop 0.020 dB"]) { click(label); found.push(pressed()); }
      return found;
    """
    comet, zebra = "Set5: comet, drop 0.500 dB", "Set5: zebra, drop 0.020 dB"
    assert run(page, script) == [[comet, "Images"], [comet, "Errors"], [zebra, "Errors"]]


VISIBLE = """
  const all = (selector) => [...document.querySelectorAll(selector)];
  const shown = (selector) => all(selector).filter((each) => each.getClientRects().length
    && getComputedStyle(each).visibility === "visible").length;
  return { images: shown(".version img"), captions: shown(".version figcaption"), bars: shown(".bar, .handle, .tag"),
    scales: shown(".scale"), titles: shown("h3"),
    cut: all(".version").filter((each) => getComputedStyle(each).clipPath !== "none").length,
    hidden: all(".scroll").filter((each) => each.scrollHeight > each.clientHeight + 1).length };
"""


@pytest.mark.parametrize("kind", ["print", "without script"])
def test_paper_and_pages_without_scripts_show_all_versions_side_by_side(page: str, run: Run, kind: str) -> None:
    if kind == "print":
        page = page.replace("@media screen", "@media not all").replace("@media print", "@media all")
    else:
        page = re.sub("<script>.*?</script>", "", page, flags=re.DOTALL)
    found = run(page, VISIBLE)
    expected = {"images": 12, "captions": 12, "bars": 0, "scales": 4, "titles": 2, "cut": 0}
    assert {key: found[key] for key in expected} == expected
    assert kind != "print" or found["hidden"] == 0


def test_printing_gives_a_document(page: str, opened: Run, tmp_path: Path) -> None:
    opened(page, f"--print-to-pdf={tmp_path / 'page.pdf'}", "--no-pdf-header-footer")
    content = (tmp_path / "page.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 6


# Charts

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
def test_charts_say_in_words_what_they_show(name: str) -> None:
    elements = Elements(CHARTS[name].html()).found
    (svg,) = [attributes for tag, attributes in elements if tag == "svg"]
    assert svg["role"] == "img"
    assert svg["aria-label"].startswith(CHARTS[name].caption)
    for tag, attributes in elements:
        for key in ("x", "y", "width", "height", "cx", "cy", "x1", "y1", "x2", "y2"):
            assert np.isfinite(float(attributes.get(key, 0))), f"{tag} {attributes}"


def words(chart: Any) -> tuple[str, list[str]]:
    """The text alternative and the tooltips of a chart."""
    html_ = chart.html()
    (label,) = [attributes["aria-label"] for tag, attributes in Elements(html_).found if tag == "svg"]
    return label, re.findall("<title>(.*?)</title>", html_)


def test_figures_are_in_the_tooltips_and_in_the_text() -> None:
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


def test_bars_are_as_long_as_their_values() -> None:
    chart = Bars("", "dB", ["x"], [("a", [0.1]), ("b", [0.3]), ("c", [-0.2])])
    bars = [
        attributes for tag, attributes in Elements(chart.html()).found if tag == "rect" and "c" in attributes["class"]
    ]
    a, b, c = ([float(each["y"]), float(each["height"])] for each in bars[3:])  # after the legend's
    assert b[1] == pytest.approx(3 * a[1], abs=0.3)
    assert c[1] == pytest.approx(2 * a[1], abs=0.3)
    assert a[0] + a[1] == pytest.approx(b[0] + b[1], abs=0.2) == pytest.approx(c[0], abs=0.2)


def test_every_picture_of_a_page_has_words(page: str) -> None:
    for tag, attributes in Elements(page).found:
        if tag == "svg":
            assert attributes["role"] == "img" and len(attributes["aria-label"]) > 10
        if tag == "img":
            assert attributes["alt"].startswith("Set5: ")


def test_layers_are_in_the_order_of_their_numbers(page: str) -> None:
    table = page[page.index("<h2>Bits per layer") :]
    assert re.findall(r"<td>(b\.\d+)</td>", table) == ["b.1", "b.2", "b.10"]


def test_noise_and_inputs_are_charts(page: str) -> None:
    assert "<title>b.1: weights 8 bits, activations 8 bits</title>" in page
    assert "<title>b.2: weights 3 bits, activations 3 bits, noise 1 %</title>" in page
    assert "<title>b.10: weights 4 bits, activations 4 bits, noise 25 %</title>" in page
    assert "b.10, channel 7, 4 bits: 103 values from 0 to 1" in page


def test_many_points_are_thin_lines_and_told_in_short() -> None:
    label, tips = words(Histogram("x", [0.0, 1.0], [5], [index / 999 for index in range(1000)]))
    assert label.endswith("1000 points: from 0 to 1")
    assert len(tips) < 400
    assert tips[1].startswith("points 0, 0.001")


def test_several_runs_are_marks_of_drop_against_size_and_time() -> None:
    full = scored("full.pth", dict.fromkeys(DROPS, 0.0))
    runs = [scored(f"run{n}", {k: n * v for k, v in DROPS.items()}, size=1000 * n, seconds=1 / n) for n in (1, 2, 3)]
    report = Report((full, *runs), {"seconds": {"run1": 5.0, "run2": 9.0}})
    page = rendered(Findings(report, "compared"))
    charts = {}
    for caption in ("size", "time in the engine", "time to quantize"):
        start = page.index(f"<figcaption>Drop against {caption}</figcaption>")
        charts[caption] = Elements(page[start : page.index("</figure>", start)]).found
    marks = {name: [attributes for tag, attributes in found if tag == "circle"] for name, found in charts.items()}
    assert [len(each) for each in marks.values()] == [3, 3, 2]
    for name, order in (("size", 1), ("time in the engine", -1)):
        places = [float(each["cx"]) for each in marks[name]]
        assert places == sorted(places)[::order]
        heights = [float(each["cy"]) for each in marks[name]]  # downwards
        assert heights == sorted(heights, reverse=True)
    assert "<title>run2: drop on Set5 0.284 dB, size 2 kB</title>" in page
    assert "<title>run2: drop on Set5 0.284 dB, time to quantize 9 s</title>" in page


def test_names_cannot_break_out(tmp_path: Path, run: Run) -> None:
    name = "\"'><script>document.title='broken'</script>&amp;\0"
    low = scored(name, DROPS, artifact={**ARTIFACT, "layers": {name: LAYERS["b.1"]}, "parts": {name: 5}}, size=5)
    report = Report((scored(name + "2", DROPS, size=6), low))
    found = Findings(
        report,
        name,
        facts={name: name},
        checks=gates.max_drop(report, 1),
        compared=[compared(name, 0.1)],
        names=(name, name),
        signals=Signals(name, {name: 0.1}, {name: INPUTS}),
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


def test_captions_have_no_head_and_cannot_be_sorted() -> None:
    page = to_html([Section("Facts", CAPTIONS, [("a", "b")])], "facts")
    assert "<thead>" not in page and '<table class="captions">' in page
    assert html.__doc__


def test_a_png_is_written_where_there_is_no_webp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfsq.report.encoding.features.check", lambda name: False)
    kind, data = lossless(picture())
    assert kind == "image/png"
    assert struct.unpack(">II", data[16:24]) == (96, 64)
