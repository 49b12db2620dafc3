"""Models as files of other engines: one file per target format."""

from dfsq.export.graph import to_onnx
from dfsq.export.writing import Exported, export

__all__ = ["Exported", "export", "to_onnx"]
