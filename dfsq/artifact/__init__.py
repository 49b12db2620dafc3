"""The dfsq artifact: one safetensors file that holds a quantized network and how it came about.

:mod:`~dfsq.artifact.header` says what the header holds, :mod:`~dfsq.artifact.file` how it and the tensors lie in a
file, :mod:`~dfsq.artifact.model` how a model becomes both. Only the last needs torch, and is imported when it is used.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfsq.artifact.file import is_artifact, read

if TYPE_CHECKING:
    from dfsq.artifact.model import load, save

__all__ = ["is_artifact", "load", "read_header", "save"]


def read_header(path: str | Path) -> dict[str, Any]:
    """What the header of an artifact says, as JSON values in the form of the newest version, whatever the file's own.

    Does not import torch. Raises :class:`~dfsq.errors.ArtifactError` as :func:`load` does.
    """
    return read(Path(path)).header.to_json()


def __getattr__(name: str) -> Any:
    if name not in ("load", "save"):
        raise AttributeError(f"module 'dfsq.artifact' has no attribute {name!r}")
    return getattr(import_module("dfsq.artifact.model"), name)
