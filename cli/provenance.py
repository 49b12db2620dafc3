"""Where a result comes from: the command, the files that took part, what computed."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfsq.version import __version__

if TYPE_CHECKING:
    from dfsq.report.report import Report

_LIBRARIES = ("torch", "numpy")


def provenance(files: Mapping[str, str | Path]) -> dict[str, Any]:
    """Fields of :class:`dfsq.report.findings.Findings`; ``files`` by what the report calls them."""
    from dfsq.checkpoint import sha256_of
    from dfsq.embedded import located
    from dfsq.runtime import rounded_by

    checksums = {}
    for name, path in files.items():
        with located(path) as file:
            if file.is_file():
                checksums[name] = sha256_of(file)
    return {
        "command": shlex.join(("dfsq", *sys.argv[1:])),
        "checksums": checksums,
        "versions": {
            "dfsq": __version__,
            "Python": platform.python_version(),
            **{name: version(name) for name in _LIBRARIES},
            "activations": f"rounded by {rounded_by()}",
        },
    }


def with_artifacts(report: Report, files: Mapping[str, str | Path]) -> Report:
    """``report`` with what the headers of those of its models that are artifacts say; ``files`` by their names."""
    from dfsq.artifact import is_artifact
    from dfsq.artifact.parts import described

    def filled(name: str) -> dict[str, Any] | None:
        path = Path(files.get(name, ""))
        return described(path) if is_artifact(path) else None

    return replace(report, models=tuple(replace(model, artifact=filled(model.name)) for model in report.models))
