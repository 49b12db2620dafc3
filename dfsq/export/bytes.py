"""Bytes in and out: what decoders of videos hand over, and encoders take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


def take_bytes(graph: onnx.ModelProto) -> None:
    """Let ``graph`` take uint8 RGB ``(N, H, W, 3)`` and return that, rounded to the nearest, instead of floats."""
    from onnx import TensorProto, helper, numpy_helper

    body = graph.graph
    (lr,), (sr,) = body.input, body.output
    for node in body.node:
        node.input[:] = [f"{lr.name}_float" if each == lr.name else each for each in node.input]
        node.output[:] = [f"{sr.name}_float" if each == sr.name else each for each in node.output]
    for name, value in (("byte_range", 255.0), ("byte_least", 0.0)):
        body.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    before = [
        helper.make_node("Cast", [lr.name], ["lr_bytes"], "bytes_to_float", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["lr_bytes"], ["lr_planes"], "bytes_to_planes", perm=_TO_NCHW),
        helper.make_node("Div", ["lr_planes", "byte_range"], [f"{lr.name}_float"], "bytes_to_range"),
    ]
    after = [
        helper.make_node("Mul", [f"{sr.name}_float", "byte_range"], ["sr_scaled"], "range_to_bytes"),
        helper.make_node("Clip", ["sr_scaled", "byte_least", "byte_range"], ["sr_clipped"], "clip_to_bytes"),
        helper.make_node("Round", ["sr_clipped"], ["sr_rounded"], "round_to_bytes"),
        helper.make_node("Transpose", ["sr_rounded"], ["sr_pixels"], "planes_to_pixels", perm=_TO_NHWC),
        helper.make_node("Cast", ["sr_pixels"], [sr.name], "pixels_to_bytes", to=TensorProto.UINT8),
    ]
    nodes = [*before, *body.node, *after]
    del body.node[:]
    body.node.extend(nodes)
    for value in (lr, sr):
        kind = value.type.tensor_type
        dims = [kind.shape.dim[axis].dim_param or kind.shape.dim[axis].dim_value for axis in _TO_NHWC]
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.UINT8, dims))
