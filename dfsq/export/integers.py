"""Integers in an ONNX graph: QuantizeLinear and DequantizeLinear (QDQ) as engines fuse them into integer convolutions.

Activations are quantized where the network does it, at the inputs of its layers and nowhere else. Weights are int8
initializers behind a DequantizeLinear, on axis 0, and biases int32 ones in units of the products.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dfsq.extras import require
from dfsq.nn import AffineQuantizer, QuantizedLayer, quantized_layers
from dfsq.quantizers.weights import UniformWeight

_FULL = 8
"""Bits of ONNX's integers; the codes of narrower grids are clipped."""


def translations() -> dict[Any, Any]:
    """What ``torch.ops.dfsq.affine`` is in ONNX, for ``torch.onnx.export``."""
    require("onnxscript", "onnx")
    import onnx
    from onnxscript import opset18 as op

    def affine(x: Any, steps: Any, zero_points: Any, scale: Any, zero_point: Any, bits: int, axis: int) -> Any:
        codes = op.QuantizeLinear(x, steps, zero_points, axis=axis)
        if bits < _FULL:
            most = onnx.numpy_helper.from_array(np.array(2**bits - 1, np.uint8))
            codes = op.Clip(codes, None, op.Constant(value=most))
        return op.DequantizeLinear(codes, scale, zero_point)

    return {torch.ops.dfsq.affine.default: affine}


def store_integers(graph: Any, net: torch.nn.Module) -> None:
    """Replace the weights of ``net``'s quantized layers in ``graph`` (``onnx_ir.Graph``) by integers."""
    for name, layer in quantized_layers(net):
        if isinstance(layer.quantized_weight, UniformWeight):
            _store(graph, f"net.{name}", layer)


def _store(graph: Any, name: str, layer: QuantizedLayer) -> None:
    weight, bias = graph.initializers.get(f"{name}.weight"), graph.initializers.get(f"{name}.bias")
    quantized = layer.quantized_weight
    if weight is None or not isinstance(quantized, UniformWeight):
        return
    zero_point = quantized.zero_point.numpy()
    codes = quantized.codes.numpy().astype(np.int16)
    middle = 2 ** (quantized.bits - 1)
    if (zero_point == middle).all():
        integers, zeros = (codes - middle).astype(np.int8), np.zeros(len(codes), np.int8)
    else:
        integers, zeros = codes.astype(np.uint8), zero_point.astype(np.uint8)
    scale = quantized.scale.numpy()
    _behind_scale(graph, weight, integers, scale, zeros)
    if bias is None or not isinstance(layer.input_quantizer, AffineQuantizer):
        return
    unit = scale * layer.input_quantizer.scale.numpy()
    assert layer.bias is not None
    rounded = np.rint(layer.bias.detach().numpy() / unit)
    if np.abs(rounded).max() < 2**31:
        _behind_scale(graph, bias, rounded.astype(np.int32), unit, np.zeros(len(unit), np.int32))


def _behind_scale(graph: Any, value: Any, integers: NDArray[Any], scale: NDArray[Any], zeros: NDArray[Any]) -> None:
    """Replace an initializer by ``integers`` that a DequantizeLinear multiplies with ``scale`` along axis 0."""
    import onnx_ir as ir

    name = str(value.name)

    def constant(suffix: str, array: NDArray[Any]) -> Any:
        tensor = ir.tensor(np.ascontiguousarray(array), name=f"{name}.{suffix}")
        kind, shape = ir.TensorType(tensor.dtype), ir.Shape(array.shape)
        new = ir.Value(name=tensor.name, type=kind, shape=shape, const_value=tensor)
        graph.register_initializer(new)
        return new

    inputs = [constant("integers", integers), constant("scale", scale), constant("zero_point", zeros)]
    node = ir.Node("", "DequantizeLinear", inputs, [ir.AttrInt64("axis", 0)], num_outputs=1)
    node.outputs[0].name = f"{name}.dequantized"
    node.outputs[0].shape, node.outputs[0].type = value.shape, value.type
    graph.insert_before(graph[0], node)
    value.replace_all_uses_with(node.outputs[0])
    del graph.initializers[name]
