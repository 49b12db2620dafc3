"""The sections of a report, one file each: a ``PART`` in a new file here is in every report."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from dfsq.report.findings import Findings, Part
from dfsq.report.section import Section


def sections(findings: Findings) -> list[Section]:
    """The sections that ``findings`` have something for, in order."""
    made = (part.make(findings) for part in parts())
    return [section for section in made if section is not None]


@cache
def parts() -> tuple[Part, ...]:
    """What the files here hold, in order."""
    modules = (importlib.import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__))
    found = (getattr(module, "PART", None) for module in modules)
    return tuple(sorted((each for each in found if isinstance(each, Part)), key=lambda each: each.order))
