"""Sections as one HTML file, without anything fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from importlib.resources import files

from dfsq.printable import printable
from dfsq.report.section import Cell, Column, Section, Value, Verdict
from dfsq.version import __version__


def to_html(sections: Iterable[Section], title: str) -> str:
    """Render a page."""
    style = (files("dfsq.report") / "style.css").read_text(encoding="utf-8")
    body = [f"<h1>{_text(title)}</h1>", *(line for section in sections for line in _section(section))]
    return (
        f"<!doctype html>\n<html lang=en><meta charset=utf-8>\n<title>{_text(title)}</title>\n"
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        f"<style>\n{style}</style>\n<main>\n"
        + "\n".join(body)
        + f"\n<footer>dfsq {__version__}</footer>\n</main></html>\n"
    )


def _section(section: Section) -> Iterator[str]:
    yield "<section>"
    if section.title:
        yield f"<h2>{_text(section.title)}</h2>"
    if section.columns:
        yield _headline(section) if section.headline else _table(section)
    for note in section.notes:
        verdict = isinstance(note, Verdict) and ("passed" if note.passed else "failed")
        yield f"<p class={verdict or 'note'}>{_text(note.text if isinstance(note, Verdict) else note)}</p>"
    for picture in section.pictures:
        caption = f"<figcaption>{_text(picture.caption)}</figcaption>" if picture.caption else ""
        yield f"<figure>{picture.html()}{caption}</figure>"
    yield "</section>"


def _headline(section: Section) -> str:
    items = (f"<div><dt>{_cell(name)}</dt><dd>{_cell(value)}</dd></div>" for name, value in section.rows)
    return f"<dl>{''.join(items)}</dl>"


def _table(section: Section) -> str:
    columns = section.columns
    head = "".join(f"<th{_class(column)}>{_text(column.name)}</th>" for column in columns)
    head = f"<thead><tr>{head}</tr></thead>" if any(column.name for column in columns) else ""
    lines = (
        "<tr>" + "".join(f"<td{_class(column)}>{_cell(value)}</td>" for column, value in zip(columns, row, strict=True))
        for row in section.rows
    )
    return f"<div class=scroll><table>{head}<tbody>{'</tr>'.join(lines)}</tbody></table></div>"


def _class(column: Column) -> str:
    return " class=number" if column.numeric else ""


def _cell(value: Value) -> str:
    return _text(value.text if isinstance(value, Cell) else value)


def _text(text: str) -> str:
    return escape(printable(text))
