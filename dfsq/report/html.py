"""The report as one HTML file: scores, facts and pictures, without anything fetched from elsewhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files

from dfsq.report.gates import Check
from dfsq.report.pictures import DETAIL, Strip
from dfsq.report.report import Report
from dfsq.report.text import NUMERIC, notes, table
from dfsq.version import __version__


def to_html(
    report: Report,
    title: str,
    facts: Mapping[str, str],
    strips: Sequence[Strip] = (),
    checks: Sequence[Check] = (),
) -> str:
    """Render a page. ``facts`` are the headline figures, in order, by their captions."""
    style = (files("dfsq.report") / "style.css").read_text(encoding="utf-8")
    body = [f"<h1>{escape(title)}</h1>", _facts(facts), "<h2>Scores</h2>", _table(*table(report))]
    body += [f"<p class=note>{escape(line)}</p>" for line in notes(report)]
    body += [f"<p class={'passed' if check.passed else 'failed'}>{escape(str(check))}</p>" for check in checks]
    if strips:
        body.append("<h2>Pictures</h2>")
        body.append("<p class=note>Each detail is where the two models differ most.</p>")
        body += [_strip(each) for each in strips]
    body.append(f"<footer>dfsq {__version__}</footer>")
    return (
        f"<!doctype html>\n<html lang=en><meta charset=utf-8>\n<title>{escape(title)}</title>\n"
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        f"<style>\n{style}</style>\n<main>\n" + "\n".join(body) + "\n</main></html>\n"
    )


def _facts(facts: Mapping[str, str]) -> str:
    items = (f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return f"<dl>{''.join(items)}</dl>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    classes = [" class=number" if column in NUMERIC else "" for column in columns]
    head = "".join(f"<th{c}>{escape(column)}</th>" for c, column in zip(classes, columns, strict=True))
    lines = (
        "<tr>" + "".join(f"<td{c}>{escape(cell)}</td>" for c, cell in zip(classes, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"


def _strip(strip: Strip) -> str:
    figures = (
        f'<figure><img alt="{escape(caption)}" height={2 * DETAIL} '
        f'src="data:image/png;base64,{b64encode(data).decode()}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, data in strip.pictures
    )
    return f"<h3>{escape(strip.title)}</h3><div class=strip>{''.join(figures)}</div>"
