"""Checkpoints that come with the package, by the name that stands for a path. Needs no torch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib.resources import as_file, files
from pathlib import Path

EMBEDDED = {"edsr-baseline-x2": "edsr_baseline_x2.safetensors"}
"""Files in ``dfsq/data`` by name."""


def located(path: str | Path) -> AbstractContextManager[Path]:
    """The file that ``path`` is, or stands for; the case of a name does not matter."""
    embedded = EMBEDDED.get(str(path).lower())
    if embedded and not Path(path).exists():
        return as_file(files("dfsq") / "data" / embedded)
    return nullcontext(Path(path))
