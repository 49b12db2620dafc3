"""Sections as one HTML file, without anything fetched from elsewhere."""

from __future__ import annotations

import gzip
import hashlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from dfsq.printable import printable
from dfsq.report.encoding import data_link
from dfsq.report.section import Cell, Column, Elastic, Section, Value, Verdict
from dfsq.version import __version__

LIMIT = 2_000_000
"""Bytes of a page: what mails and chats still take."""
_PLAIN, _PACKED = 150_000, 300_000
"""Bytes of JSON that a page holds as it is, and deflated."""
_TALL = 14
"""Rows of a table from which it scrolls by itself."""
_ROOM = "\0{}\0"
"""Stands where a picture will, when it is known how much room is left."""


def to_html(sections: Sequence[Section], title: str, document: str = "") -> str:
    """Render a page of at most :data:`LIMIT` bytes, to which what is elastic in it adapts.

    ``document``: the JSON that the page offers for download; none where it is empty, or too long even deflated.
    """
    elastic: list[Elastic] = []
    body = [f"<h1>{_text(title)}</h1>"]
    for section in sections:
        body += _section(section, elastic)
        if section.headline:
            body += _download(document)
    if not any(section.headline for section in sections):
        body += _download(document)
    style, script = (_file(name) for name in ("style.css", "page.js"))
    page = (
        f"<!doctype html>\n<html lang=en><meta charset=utf-8>\n<title>{_text(title)}</title>\n"
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">\n'
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        f"<style>{style}</style>\n<main>\n"
        + "\n".join(body)
        + f"\n<footer>dfsq {__version__}</footer>\n</main>\n<script>{script}</script>\n</html>\n"
    )
    left = LIMIT - len(page.encode("utf-8", "replace"))
    for index, picture in enumerate(elastic):
        html = picture.html_within(left // (len(elastic) - index))
        left -= len(html.encode("utf-8", "replace"))
        page = page.replace(_ROOM.format(index), html)
    return page


def _file(name: str) -> str:
    return (files("dfsq.report") / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing is fetched, and nothing runs but what is written here."""
    hashes = (b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in (style, script))
    allowed = "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:"
    return "{}; style-src 'sha256-{}'; script-src 'sha256-{}'".format(allowed, *hashes)


def _download(document: str) -> Iterator[str]:
    if not document:
        return
    content, kind, name = document.encode("utf-8", "replace"), "application/json", "report.json"
    if len(content) > _PLAIN:
        content, kind, name = gzip.compress(content, mtime=0), "application/gzip", "report.json.gz"
    if len(content) > _PACKED:
        yield '<p class="note">The figures as JSON are too many for this page; write a .json report beside it.</p>'
    else:
        link = data_link(kind, content)
        yield f'<p class="note download"><a download="{name}" href="{link}">Download the figures as JSON</a></p>'


def _section(section: Section, elastic: list[Elastic]) -> Iterator[str]:
    yield "<section>"
    if section.title:
        yield f"<h2>{_text(section.title)}</h2>"
    if section.pictures:
        yield '<div class="pictures">'
        for picture in section.pictures:
            if isinstance(picture, Elastic):
                html = _ROOM.format(len(elastic))
                elastic.append(picture)
            else:
                html = picture.html()
            caption = f"<figcaption>{_text(picture.caption)}</figcaption>" if picture.caption else ""
            yield f"<figure>{caption}{html}</figure>"
        yield "</div>"
    if section.columns:
        yield _headline(section) if section.headline else _table(section)
    for note in section.notes:
        verdict = isinstance(note, Verdict) and ("passed" if note.passed else "failed")
        yield f'<p class="{verdict or "note"}">{_text(note.text if isinstance(note, Verdict) else note)}</p>'
    yield "</section>"


def _headline(section: Section) -> str:
    items = (f"<div><dt>{_cell(name)}</dt><dd>{_cell(value)}</dd></div>" for name, value in section.rows)
    return f"<dl>{''.join(items)}</dl>"


def _table(section: Section) -> str:
    """A table; one with a head can be sorted by the script."""
    columns = section.columns
    named = any(column.name for column in columns)
    head = "".join(f"<th{_class(column)} scope=col>{_text(column.name)}</th>" for column in columns)
    head = f"<thead><tr>{head}</tr></thead>" if named else ""
    lines = ("<tr>" + "".join(map(_field, columns, row)) + "</tr>" for row in section.rows)
    kind = "sortable" if named else "captions"
    tall = " tall" if len(section.rows) > _TALL else ""
    return f'<div class="scroll{tall}"><table class="{kind}">{head}<tbody>{"".join(lines)}</tbody></table></div>'


def _field(column: Column, value: Value) -> str:
    exact = ""
    if isinstance(value, Cell) and value.value is not None:
        number = f"{value.value:.9g}".replace("inf", "Infinity")  # as scripts spell it
        exact = f' data-value="{number}"'
    return f"<td{_class(column)}{exact}>{_cell(value)}</td>"


def _class(column: Column) -> str:
    return " class=number" if column.numeric else ""


def _cell(value: Value) -> str:
    return _text(value.text if isinstance(value, Cell) else value)


def _text(text: str) -> str:
    return escape(printable(text))
