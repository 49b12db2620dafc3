"""The file format of ONNX: one ``.onnx``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def write(graph: onnx.ModelProto, path: Path) -> tuple[Path, ...]:
    """Write ``graph`` to ``path`` and return the files that it takes."""
    path.write_bytes(graph.SerializeToString(deterministic=True))
    return (path,)
