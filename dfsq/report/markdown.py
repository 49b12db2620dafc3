"""Sections as Markdown, as GitHub shows it in a job summary or a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from dfsq.printable import printable
from dfsq.report.section import Section, Verdict, texts


def to_markdown(sections: Iterable[Section], title: str = "") -> str:
    """Title, and of every section that is not for pages alone its title, table and notes."""
    lines = [f"## {_markdown(title)}", ""] if title else []
    for section in sections:
        if not section.only_page:
            lines += _section(section)
    return "\n".join(lines).rstrip("\n") + "\n"


def _section(section: Section) -> Iterator[str]:
    if section.title:
        yield from (f"### {_markdown(section.title)}", "")
    if section.columns:
        yield _row([column.name for column in section.columns])
        yield _row("---:" if column.numeric else "---" for column in section.columns)
        yield from (_row(texts(row)) for row in section.rows)
        yield ""
    for note in section.notes:
        if isinstance(note, Verdict):
            yield from (f"{'✅' if note.passed else '❌'} {_markdown(note.text)}", "")
        else:
            yield from (_markdown(note), "")


def _row(cells: Sequence[str] | Iterator[str]) -> str:
    return "| " + " | ".join(map(_markdown, cells)) + " |"


def _markdown(text: str) -> str:
    """``text`` as Markdown that shows it: names may hold what is markup there."""
    return re.sub(r"[\\`*\[\]<>&~|]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", printable(text))
