"""Files that a command writes: checked before the work, written after it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dfsq.errors import UsageError
from dfsq.files import check_writable, write_atomically

if TYPE_CHECKING:
    from dfsq.evaluation.benchmarks import Benchmark
    from dfsq.report.findings import Findings
    from dfsq.report.section import Section

REPORT_SUFFIXES = (".json", ".csv", ".md", ".html")


def check_outputs(inputs: Iterable[str | Path], outputs: Sequence[Path], reports: Sequence[Path]) -> None:
    """Refuse outputs that cannot be written, would replace an input, or have a suffix that no report format has.

    Raises :class:`~dfsq.errors.UsageError` or :class:`~dfsq.errors.DfsqError`.
    """
    for path in reports:
        if path.suffix.lower() not in REPORT_SUFFIXES:
            raise UsageError(f"report {path}: unknown suffix {path.suffix!r}; choose {', '.join(REPORT_SUFFIXES)}")
    taken: set[str] = set()
    for path in (*outputs, *reports):
        if os.path.realpath(path) in taken:
            raise UsageError(f"{path} is named as an output twice")
        taken.add(os.path.realpath(path))
    check_inputs_survive(inputs, (*outputs, *reports))
    for path in (*outputs, *reports):
        check_writable(path)


def check_artifact(path: Path) -> None:
    """Raise :class:`~dfsq.errors.UsageError` for a name that promises another format than that of an artifact."""
    if path.suffix.lower() != ".safetensors":
        raise UsageError(f"--output {path}: an artifact is a .safetensors file; name it like that")


def check_inputs_survive(inputs: Iterable[str | Path], outputs: Iterable[Path]) -> None:
    """Raise :class:`~dfsq.errors.UsageError` where an output is an input, under whatever name; a folder among the
    inputs stands for the images in it."""
    existing = {found: path for path in outputs if (found := _identity(path)) is not None}
    if existing:  # a folder of images takes time to look through
        for each in _files(inputs):
            if (found := _identity(each)) in existing:
                raise UsageError(f"{existing[found]} is an input; choose another output")


def image_files(benchmarks: Iterable[Benchmark]) -> list[Path]:
    """The HR and LR files of benchmark sets."""
    pictures = (picture for each in benchmarks for pair in each.pairs for picture in (pair.hr, pair.lr))
    return [picture for picture in pictures if isinstance(picture, Path)]


def _files(inputs: Iterable[str | Path]) -> Iterator[Path]:
    for path in map(Path, inputs):
        if path.is_dir():
            from dfsq.images.files import list_images

            yield from list_images(path)
        else:
            yield path


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from all others, or None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def with_pictures(reports: Iterable[Path]) -> bool:
    """Whether any of these reports shows images."""
    return any(path.suffix.lower() == ".html" for path in reports)


def write_reports(paths: Sequence[Path], findings: Findings) -> None:
    """Write a report of ``findings`` to every path in the format of its suffix."""
    from dfsq.report.json_report import to_json
    from dfsq.report.sections import sections
    from dfsq.report.spreadsheet import images

    if paths:
        document = to_json(findings.report, findings.checks)
        write_sections(paths, sections(findings), findings.title, document, images(findings.report))


def write_sections(
    paths: Sequence[Path], sections: Sequence[Section], title: str, document: str, rows: Section
) -> None:
    """Write ``sections`` to every path in the format of its suffix: as JSON ``document``, as CSV the table ``rows``."""
    from dfsq.report.html import to_html
    from dfsq.report.markdown import to_markdown
    from dfsq.report.spreadsheet import to_csv

    for path in paths:
        suffix = path.suffix.lower()
        if suffix == ".html":
            write_atomically(path, to_html(sections, title, document))
        elif suffix == ".json":
            write_atomically(path, document)
        elif suffix == ".csv":
            write_atomically(path, to_csv(rows))
        else:
            write_atomically(path, to_markdown(sections, title))
