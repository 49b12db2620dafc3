"""Models as files of other engines: one file per target format."""

from dfsq.export.graph import to_onnx

__all__ = ["to_onnx"]
