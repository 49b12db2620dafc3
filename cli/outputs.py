"""Files that a command writes: checked before the work, written after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dfsq.errors import UsageError
from dfsq.files import check_writable, write_atomically

if TYPE_CHECKING:
    from dfsq.report.gates import Check
    from dfsq.report.pictures import Strip
    from dfsq.report.report import Report

REPORT_SUFFIXES = (".json", ".csv", ".md", ".html")


def check_outputs(inputs: Sequence[str], outputs: Sequence[Path], reports: Sequence[Path]) -> None:
    """Refuse outputs that cannot be written, would replace an input, or have a suffix that no report format has.

    Raises :class:`~dfsq.errors.UsageError` or :class:`~dfsq.errors.DfsqError`.
    """
    for path in reports:
        if path.suffix.lower() not in REPORT_SUFFIXES:
            raise UsageError(f"report {path}: unknown suffix {path.suffix!r}; choose {', '.join(REPORT_SUFFIXES)}")
    sources = {Path(each).resolve() for each in inputs}
    taken: set[Path] = set()
    for path in (*outputs, *reports):
        if path.resolve() in sources:
            raise UsageError(f"{path} is an input; choose another output")
        if path.resolve() in taken:
            raise UsageError(f"{path} is named as an output twice")
        taken.add(path.resolve())
        check_writable(path)


def write_reports(
    paths: Sequence[Path],
    report: Report,
    title: str,
    facts: Mapping[str, str],
    strips: Sequence[Strip] = (),
    checks: Sequence[Check] = (),
) -> None:
    """Write ``report`` to every path in the format of its suffix."""
    from dfsq.report.html import to_html
    from dfsq.report.json_report import to_json
    from dfsq.report.text import to_csv, to_markdown

    for path in paths:
        suffix = path.suffix.lower()
        if suffix == ".html":
            write_atomically(path, to_html(report, title, facts, strips, checks))
        elif suffix == ".json":
            write_atomically(path, to_json(report, checks))
        elif suffix == ".csv":
            write_atomically(path, to_csv(report))
        else:
            write_atomically(path, to_markdown(report, checks, title=title, facts=facts))
