"""How a page behaves in a browser: at every width, in the dark, when its tables are sorted, and on paper."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfsq.report.html import to_html
from dfsq.report.section import Cell, Column, Section

Run = Callable[..., Any]
Opened = Callable[..., subprocess.CompletedProcess[str]]
WIDTHS = (400, 800, 1280, 1600)


def test_the_policy_lets_the_page_work_and_nothing_else(page: str, opened: Opened) -> None:
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


def test_the_table_of_images_is_sorted_by_any_column(page: str, drops: dict[str, float], run: Run) -> None:
    found = run(page, SORTED.replace("TITLE", "Every image").replace("NAME", "1"))
    by_drop = ["comet", "baby10", "baby9", "zebra", "lenna"]
    by_name = ["baby9", "baby10", "comet", "lenna", "zebra"]
    by_score = list(drops)  # 30, 31, 32 … dB in full precision
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


def test_printing_gives_a_document(page: str, opened: Opened, tmp_path: Path) -> None:
    opened(page, f"--print-to-pdf={tmp_path / 'page.pdf'}", "--no-pdf-header-footer")
    content = (tmp_path / "page.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 6
