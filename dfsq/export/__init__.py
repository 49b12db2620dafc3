"""Models as files of other engines: one file per target format, and a row in :mod:`dfsq.export.registry`.

Names are resolved on first use, so that the registry is read without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfsq.export.graph import to_onnx
    from dfsq.export.writing import Exported, export

__all__ = ["Exported", "export", "to_onnx"]

_HOMES = {"Exported": "dfsq.export.writing", "export": "dfsq.export.writing", "to_onnx": "dfsq.export.graph"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dfsq.export' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
