"""Sections in every output form, and how a report gets one more."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.console import print_report, print_section
from dfsq.evaluation.results import ImageResult, Scores, SetResult
from dfsq.report import sections as package
from dfsq.report.findings import Findings
from dfsq.report.html import to_html
from dfsq.report.markdown import to_markdown
from dfsq.report.report import ModelReport, Report
from dfsq.report.section import Cell, Column, Section, Verdict, number
from dfsq.report.spreadsheet import to_csv

REPORT = Report((ModelReport("m", "edsr", 2, (SetResult("s", 2, True, (ImageResult("i", Scores(30, 1, 30, 1)),)),)),))


@dataclass(frozen=True)
class Dot:
    caption: str = "a dot & more"

    def html(self) -> str:
        return "<svg role=img aria-label=dot></svg>"


SECTION = Section(
    "Title <1>",
    (Column("name"), Column("value", True)),
    [("a|b", number(1 / 3, "0.33")), ("c", Cell("–"))],
    ["a *note*", Verdict("good", True), Verdict("bad", False)],
    [Dot()],
)


def test_the_page_shows_everything() -> None:
    page = to_html([SECTION], "Page")
    for shown in ("<h2>Title &lt;1&gt;</h2>", "a|b", 'data-value="0.333333333">0.33<', "<td class=number>–</td>"):
        assert shown in page
    for shown in ('<p class="note">a *note*</p>', '<p class="passed">good</p>', '<p class="failed">bad</p>'):
        assert shown in page
    assert "<figcaption>a dot &amp; more</figcaption><svg role=img aria-label=dot></svg>" in page


def test_markdown_shows_all_but_pictures() -> None:
    assert to_markdown([SECTION]).splitlines() == [
        "### Title \\<1\\>",
        "",
        "| name | value |",
        "| --- | ---: |",
        "| a\\|b | 0.33 |",
        "| c | – |",
        "",
        "a \\*note\\*",
        "",
        "✅ good",
        "",
        "❌ bad",
    ]


def test_csv_holds_the_table_unrounded() -> None:
    rows = list(csv.reader(io.StringIO(to_csv(SECTION))))
    assert rows[0] == ["name", "value"]
    assert rows[1][0] == "a|b" and float(rows[1][1]) == 1 / 3
    assert rows[2] == ["c", ""]


def test_the_terminal_shows_table_and_notes(capsys: pytest.CaptureFixture[str]) -> None:
    print_section(SECTION)
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines] == [["a|b", "0.33"], ["c", "–"]]
    assert lines[0].index("0.33") > lines[0].index("a|b")
    assert out.splitlines()[-3:] == ["a *note*", "good", "bad"]


def test_what_is_for_pages_alone_is_not_in_markdown() -> None:
    section = Section("Only here", notes=("a note",), only_page=True)
    assert "Only here" in to_html([section], "x")
    assert to_markdown([section, SECTION]) == to_markdown([SECTION])


def test_a_new_section_is_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "weather.py").write_text(
        "from dfsq.report.findings import Part\n"
        "from dfsq.report.section import Section\n"
        "PART = Part(45, lambda findings: Section('Weather', notes=[f'{len(findings.report.models)} of them']))\n"
    )
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    package.parts.cache_clear()
    try:
        found = package.sections(Findings(REPORT))
        titles = [section.title for section in found]
        assert titles.index("Scores") + 1 == titles.index("Weather") == titles.index("Every image") - 1
        print_report(REPORT)
        for text in (to_markdown(found), to_html(found, "x"), capsys.readouterr().out):
            assert "Weather" in text and "1 of them" in text
    finally:
        package.parts.cache_clear()
        sys.modules.pop(f"{package.__name__}.weather", None)


def test_parts_have_places_of_their_own() -> None:
    orders = [part.order for part in package.parts()]
    assert orders == sorted(set(orders))
    assert len(orders) >= 10
