"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfsq.engines.description import INTEGERS, Description
from dfsq.engines.processor import instruction_set
from dfsq.engines.session import Port, Session, Step, peak, written
from dfsq.extras import installed, require

_PROBE = 48
_TYPES = {"tensor(float)": "f4", "tensor(float16)": "f2", "tensor(double)": "f8", "tensor(uint8)": "u1"}
_FATAL = 4
"""Level of the log: everything else is raised as well."""


def open_session(graph: Path | bytes, precision: str, threads: int) -> Session:
    """See :class:`Session`."""
    return _OnnxRuntime(graph, threads)


class _OnnxRuntime(Session):
    def __init__(self, graph: Path | bytes, threads: int) -> None:
        library = require("onnxruntime", "onnx")
        options = library.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = _FATAL
        # Threads that wait by spinning slow a busy machine down, as in cli.main.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._graph = graph
        content = graph if isinstance(graph, bytes) else str(graph)
        self._session = library.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.inputs = tuple(map(_port, self._session.get_inputs()))
        self.outputs = tuple(map(_port, self._session.get_outputs()))
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        told = written(self.metadata)
        if (told.get("quantization"), told.get("target")) == ("int8", "openvino"):
            # It would fuse a grid per channel into integer convolutions, which do not run then.
            options.add_session_config_entry("session.disable_quant_qdq", "1")
            self._session = library.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            self.notes = (
                "its integers are placed for openvino: ONNX Runtime computes them in float, which is right but no "
                "faster; quantize for `target` onnxruntime",
            )
        integers = INTEGERS if self._has_integers() else ""
        self.description = Description(
            "onnxruntime", library.__version__, f"{integers}f32", instruction_set(limited=False)
        )

    def run(self, images: NDArray[Any]) -> NDArray[Any]:
        result: NDArray[Any] = self._session.run(
            [self._session.get_outputs()[0].name], {self._session.get_inputs()[0].name: images}
        )[0]
        return result

    def bytes_per_pixel(self) -> float | None:
        model = self._proto()
        if model is None:
            return None
        import onnx

        del model.graph.value_info[:]  # with free sizes, which would stay free
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")
        for value, size in zip(model.graph.input[0].type.tensor_type.shape.dim, self._probe(), strict=True):
            value.Clear()
            value.dim_value = size
        shaped = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        sizes = {each.name: _bytes(each) for each in (*shaped.value_info, *shaped.output)}
        steps = [Step(tuple(node.input), {name: sizes.get(name, 0) for name in node.output}) for node in shaped.node]
        return peak(steps, [each.name for each in shaped.output]) / _PROBE**2

    def _probe(self) -> tuple[int, ...]:
        last = self.inputs[0].shape[3] in (1, 3)
        channels = self.inputs[0].shape[3 if last else 1] or 3
        return (1, _PROBE, _PROBE, channels) if last else (1, channels, _PROBE, _PROBE)

    def _has_integers(self) -> bool:
        model = self._proto()
        return model is not None and any(
            node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "ConvInteger")
            for node in model.graph.node
        )

    def _proto(self) -> Any:
        """The graph without weights that lie elsewhere; None where onnx, which reads it, is not installed."""
        if not installed("onnx"):
            return None
        onnx = require("onnx", "onnx")
        if isinstance(self._graph, bytes):
            return onnx.load_model_from_string(self._graph)
        return onnx.load(str(self._graph), load_external_data=False)


def _port(port: Any) -> Port:
    shape = tuple(each if isinstance(each, int) and each > 0 else None for each in port.shape or ())
    return Port(shape, np.dtype(_TYPES.get(port.type, "V1")))


def _bytes(value: Any) -> int:
    """Size of a value whose shape is known; 0 for others."""
    import onnx

    tensor = value.type.tensor_type
    sizes = [each.dim_value for each in tensor.shape.dim]
    try:
        width = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
    except (KeyError, TypeError, ValueError):
        width = 4
    return int(np.prod(sizes, dtype=np.int64)) * width
