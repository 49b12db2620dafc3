"""What an exported file says about itself: one entry per fact, each as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

from dfsq.artifact.model import header_of
from dfsq.model import SRModel
from dfsq.nn import quantized_layers
from dfsq.version import __version__

if TYPE_CHECKING:
    import onnx

    from dfsq.export.capture import Captured

PREFIX = "dfsq."
INTEGER_KINDS = frozenset({"affine"})
"""Kinds of input quantizers that engines run as integers."""
NO_SPEED_UP = "subset: no speed-up"


SMALLEST_OF_INTEGERS = 2
"""Shortest side of an image for integers: of a single pixel OpenVINO 2026.4 makes something else with AVX-512."""


def quantization_of(model: SRModel) -> str | None:
    """``None``, ``"int8"`` for what engines run as integers, or what says that they do not."""
    layers = [layer for _, layer in quantized_layers(model.net)]
    if not layers:
        return None
    kinds = {layer.input_quantizer.kind for layer in layers if layer.input_quantizer is not None}
    return "int8" if kinds and kinds <= INTEGER_KINDS else NO_SPEED_UP


def target_of(model: SRModel) -> str | None:
    """The engine that the integers of ``model`` are for; None where it has none, or no matter which engine."""
    if quantization_of(model) != "int8":
        return None
    # ONNX Runtime alone asks that what a layer makes is rounded too.
    rounded = any(layer.output_quantizer is not None for _, layer in quantized_layers(model.net))
    return "onnxruntime" if rounded else "openvino"


def describe(model: SRModel, captured: Captured, uint8: bool) -> dict[str, Any]:
    """Facts about the graph of ``model`` by name; JSON types only."""
    info = model.info
    height, width = captured.size or ("H", "W")
    batch = captured.batch or "N"
    least = captured.minimum
    if captured.size is None and quantization_of(model) == "int8":
        least = max(least, SMALLEST_OF_INTEGERS)
    facts: dict[str, Any] = {
        "version": __version__,
        "scale": info.scale,
        "architecture": info.architecture,
        "source": info.source,
        "source_sha256": info.source_sha256,
        "channels": info.channels,
        "rgb_range": info.rgb_range,
        "found": dict(info.found),
        "fidelity": info.fidelity if info.fidelity is not None and isfinite(info.fidelity) else None,
        "input": {
            "name": "lr",
            "layout": "NHWC" if uint8 else "NCHW",
            "shape": [batch, height, width, 3] if uint8 else [batch, 3, height, width],
            "dtype": "uint8" if uint8 else "float32",
            "range": [0, 255] if uint8 else [0, 1],
            "colours": "RGB",
        },
        "min_size": least,
        "quantization": quantization_of(model),
    }
    if model.quantization is not None:
        facts["header"] = header_of(model, model.quantization).to_json()
    return facts


def read(graph: onnx.ModelProto) -> dict[str, Any]:
    """The facts that an ONNX graph holds. Raises ValueError for one that is no JSON."""
    return decoded({entry.key: entry.value for entry in graph.metadata_props})


def decoded(entries: Mapping[str, str]) -> dict[str, Any]:
    """Facts by name of ``entries``, of which those that are not dfsq's are left out."""
    return {key.removeprefix(PREFIX): json.loads(value) for key, value in entries.items() if key.startswith(PREFIX)}


def encoded(facts: Mapping[str, Any]) -> dict[str, str]:
    """Inverse of :func:`decoded`."""
    return {PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in facts.items()}
