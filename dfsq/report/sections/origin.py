"""What it takes to get the same again: recipe, command, checksums and versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dfsq.report.findings import Findings, Part
from dfsq.report.section import CAPTIONS, Section


def origin(findings: Findings) -> Section | None:
    """A row per thing that matters."""
    rows = list(_rows(findings))
    return Section("To get the same again", CAPTIONS, rows, only_page=True) if rows else None


def _rows(findings: Findings) -> Iterator[tuple[str, str]]:
    if findings.command:
        yield "command", findings.command
    artifacts = {model.name: model.artifact for model in findings.report.models if model.artifact}
    several = len(artifacts) > 1
    for name, artifact in artifacts.items():
        of = f" of {name}" if several else ""
        yield from _fields(f"recipe{of}", artifact.get("recipe"))
        yield from _fields(f"calibration{of}", artifact.get("calibration"))
        yield from _fields(f"made from{of}", artifact.get("source"))
        yield from _fields(f"made with{of}", artifact.get("versions"))
    for name, checksum in findings.checksums.items():
        yield f"SHA-256 of {name}", checksum
    yield from _fields("versions", findings.versions)


def _fields(caption: str, values: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    if values:
        yield caption, ", ".join(f"{key} {_plain(value)}" for key, value in values.items())


def _plain(value: Any) -> str:
    if value is None or value in ([], {}, ""):
        return "none"
    if isinstance(value, dict):
        return f"({', '.join(f'{key} {_plain(each)}' for key, each in value.items())})"
    if isinstance(value, list):
        return "×".join(map(str, value)) if all(isinstance(each, int) for each in value) else ", ".join(map(str, value))
    return str(value)


PART = Part(90, origin)
