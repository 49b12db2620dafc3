"""The engines by name: what each reads and needs. Plain data, so that the command line knows them without torch."""

from __future__ import annotations

from dataclasses import dataclass

ONNX, OPENVINO = ".onnx", ".xml"
"""Formats of graphs, by their usual suffix."""


@dataclass(frozen=True)
class Entry:
    """An engine that runs graphs. Its module defines ``open_session``, see :mod:`dfsq.engines.session`."""

    module: str
    library: str
    extra: str
    """What ``pip install 'dfsq[EXTRA]'`` brings it."""
    formats: tuple[str, ...]
    """Formats of graphs that it reads."""
    precisions: tuple[str, ...]


TORCH = "torch"
"""The engine that runs checkpoints and artifacts as they are."""
GRAPH_ENGINES = {
    "onnxruntime": Entry("dfsq.engines.onnxruntime", "onnxruntime", "onnx", (ONNX,), ("f32",)),
    "openvino": Entry("dfsq.engines.openvino", "openvino", "openvino", (ONNX, OPENVINO), ("f32", "bf16")),
}
"""In the order in which they are chosen for a graph where the user does not choose."""
NAMES = (TORCH, *GRAPH_ENGINES)
AUTO = "auto"
F32 = "f32"
PRECISIONS = (F32, "bf16", AUTO)
