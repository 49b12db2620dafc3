"""OpenVINO on the CPU."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfsq.checkpoint.sniffing import graph_format
from dfsq.engines.description import INTEGERS, Description
from dfsq.engines.processor import instruction_set, overflows
from dfsq.engines.registry import OPENVINO
from dfsq.engines.session import PREFIX, Port, Session, Step, peak
from dfsq.errors import UsageError
from dfsq.extras import require

_DEVICE = "CPU"
_PROBE = 48
_SAFE = 64


def open_session(graph: Path | bytes, precision: str, threads: int) -> Session:
    """See :class:`Session`. Raises :class:`UsageError` where the processor has no bf16."""
    return _OpenVino(graph, precision, threads)


class _OpenVino(Session):
    def __init__(self, graph: Path | bytes, precision: str, threads: int) -> None:
        library = require("openvino", "openvino")
        self._core = library.Core()
        self._model = self._read(graph)
        integers = any(node.get_type_name() == "FakeQuantize" for node in self._model.get_ops())
        if precision == "auto" and integers:
            # The rest of such a graph was left in float because it matters: bf16 costs more than the integers do.
            precision = "f32"
        options: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads}
        if precision != "auto":
            options["INFERENCE_PRECISION_HINT"] = precision
        self._compiled = self._core.compile_model(self._model, _DEVICE, options)
        self.inputs = tuple(map(_port, self._model.inputs))
        self.outputs = tuple(map(_port, self._model.outputs))
        self.metadata = _metadata(self._model)
        chosen = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
        name = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        used = chosen.get(name, name)
        instructions = instruction_set(limited=True)
        if precision not in ("auto", used):
            raise UsageError(f"`precision` {precision} is not what this processor ({instructions}) has; leave it out")
        if overflows(instructions) and _has_wide_weights(self._model):
            self.notes = (
                f"8-bit weights: on this processor ({instructions}, no VNNI) OpenVINO cuts off sums that do not fit "
                "into 16 bits, which may ruin the picture; quantize to 7 bits, as the recipe int8 does",
            )
        version = library.__version__.partition("-")[0]
        self.description = Description("openvino", version, f"{INTEGERS * integers}{used}", instructions)

    def _read(self, graph: Path | bytes) -> Any:
        if isinstance(graph, Path) and graph_format(graph) == OPENVINO:
            return self._core.read_model(str(graph))
        # Its own reader asks every frontend, which print what they think of a damaged file.
        frontend = require("openvino.frontend", "openvino").FrontEndManager().load_by_framework("onnx")
        return frontend.convert(frontend.load(io.BytesIO(graph) if isinstance(graph, bytes) else str(graph)))

    def run(self, images: NDArray[Any]) -> NDArray[Any]:
        # Copied, for the memory of a result is used again.
        return np.array(self._compiled(images)[0])

    def bytes_per_pixel(self) -> float | None:
        model = self._model.clone()
        port = self.inputs[0]
        last = port.shape[3] in (1, 3)
        channels = port.shape[3 if last else 1] or 3
        model.reshape([1, _PROBE, _PROBE, channels] if last else [1, channels, _PROBE, _PROBE])
        steps = []
        for node in model.get_ordered_ops():
            weights = node.get_type_name() in ("Constant", "Parameter", "Result")
            reads = tuple(_name(each.get_source_output()) for each in node.inputs())
            steps.append(Step(reads, {} if weights else {_name(each): _bytes(each) for each in node.outputs()}))
        return peak(steps, [_name(each.get_node().input_value(0)) for each in model.outputs]) / _PROBE**2


def _has_wide_weights(model: Any) -> bool:
    """Whether convolutions have integer weights of which two, times 255, do not fit into 16 bits."""
    constants = (node for node in model.get_ops() if node.get_type_name() == "Constant")
    weights = (each.data for each in constants if each.get_element_type().get_type_name() == "i8")
    return any(each.ndim == 4 and int(np.abs(each.astype(np.int16)).max(initial=0)) > _SAFE for each in weights)


def _port(port: Any) -> Port:
    shape = port.get_partial_shape()
    sizes = tuple(each.get_length() if each.is_static else None for each in shape) if shape.rank.is_static else ()
    try:
        return Port(sizes, np.dtype(port.get_element_type().to_dtype()))
    except (RuntimeError, TypeError, ValueError):  # no type of NumPy's
        return Port(sizes, np.dtype("V1"))


def _name(output: Any) -> str:
    return f"{output.get_node().get_friendly_name()}:{output.get_index()}"


def _bytes(output: Any) -> int:
    shape = output.get_partial_shape()
    size = output.get_element_type().size
    return int(np.prod(list(output.get_shape()), dtype=np.int64)) * size if shape.is_static else 0


def _metadata(model: Any) -> Mapping[str, str]:
    """What is written into a graph: an ONNX file's is under ``framework``, that of OpenVINO's own under ``dfsq``."""
    found: dict[str, str] = {}
    info = model.get_rt_info()
    for section, prefix in (("framework", ""), ("dfsq", PREFIX)):
        if section in info:
            value = getattr(info[section], "value", info[section])
            if isinstance(value, dict):
                found |= {f"{prefix}{key}": str(getattr(each, "value", each)) for key, each in value.items()}
    return found
