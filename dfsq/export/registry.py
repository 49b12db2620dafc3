"""Formats that networks are exported to, by suffix. Plain data, so that the command line knows them without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """A format of graphs. Its module defines ``write(graph, path)``, which returns the files that it has written: first
    the one that a reader opens."""

    module: str
    engines: tuple[str, ...]
    """Which of them run it, and so check it."""
    libraries: tuple[tuple[str, str], ...] = ()
    """What writing it takes beside what makes the graph: modules, each with the extra that brings it."""
    beside: tuple[str, ...] = ()
    """Suffixes of files that lie beside the one that is named."""


GRAPH_LIBRARIES = (("onnx", "onnx"), ("onnxscript", "onnx"))
"""What making a graph takes, whatever it is written as."""
FORMATS = {
    ".onnx": Format("dfsq.export.onnx_file", engines=("onnxruntime", "openvino")),
    ".xml": Format(
        "dfsq.export.openvino_ir", engines=("openvino",), libraries=(("openvino", "openvino"),), beside=(".bin",)
    ),
}
