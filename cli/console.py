"""Terminal output: tables on stdout, notes on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dfsq import distributed
from dfsq.printable import printable

if TYPE_CHECKING:
    from dfsq.report.report import Report
    from dfsq.report.section import Section

_WIDTH_WITHOUT_TERMINAL = 10_000
"""More than any table has: nothing is cut off where a program reads."""


def console(stderr: bool) -> Console:
    """What prints text as it is: brackets and colons in names are no markup."""
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if terminal else _WIDTH_WITHOUT_TERMINAL
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True, width=width)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print a table on stdout; the columns numbered in ``right`` are aligned to the right."""
    console(stderr=False).print(Text(printable(title), "bold"), soft_wrap=False)
    table = Table(show_header=any(columns))
    for index, column in enumerate(columns):
        # On a narrow terminal text is folded, and numbers stay whole.
        number = index in right
        table.add_column(column, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))
    console(stderr=False).print(table)


def print_section(section: Section) -> None:
    """Print title, table and notes of a section on stdout."""
    from dfsq.report.section import Verdict, texts

    if not section.columns and section.title:
        print_text(f"{printable(section.title)}\n")
    if section.columns:
        right = [index for index, column in enumerate(section.columns) if column.numeric]
        print_table(section.title, [each.name for each in section.columns], [*map(texts, section.rows)], right)
    for line in section.notes:
        print_text(f"{printable(line.text if isinstance(line, Verdict) else line)}\n")


def print_report(report: Report, per_image: bool = False) -> None:
    """Print scores, drops and what other sections tell in short on stdout."""
    from dfsq.report.findings import Findings
    from dfsq.report.sections import sections

    for section in sections(Findings(report, per_image=per_image)):
        if not section.only_page:
            print_section(section)


def print_text(text: str) -> None:
    """Print lines on stdout, each of them with its line break."""
    click.echo(printable(text, keep="\n"), nl=False)


def print_lines(text: str) -> None:
    """Print a line on stdout, on a terminal as many as fit it."""
    console(stderr=False).print(printable(text), soft_wrap=False)


def tell(message: str) -> None:
    """Print the one line of a failure on stderr."""
    click.echo(f"dfsq: {printable(' '.join(message.split()))}", err=True)


def note(message: str, quiet: bool = False) -> None:
    """Print one line on stderr unless ``quiet``."""
    if not quiet and distributed.is_main():
        console(stderr=True).print(printable(message))
