"""Convolution → activation → Split becomes one convolution per part.

An engine fuses a QuantizeLinear into the convolution before it, but not through a Split: there it stays a pass over the
whole map, with a change of layout.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

_POINTWISE = frozenset(("Relu", "LeakyRelu"))


def split_convolutions(graph: Any) -> None:
    """Rewrite ``graph`` (``onnx_ir.Graph``) in place; its outputs stay the same to the bit."""
    for node in list(graph):
        if node.op_type == "Split" and (chain := _chain(node)):
            _replace(graph, node, chain)


def _chain(split: Any) -> list[Any]:
    """The convolution and the activations between it and ``split``; empty where there are others."""
    axis = split.attributes["axis"].as_int() if "axis" in split.attributes else 0
    if axis != 1 or split.inputs[1] is None or split.inputs[1].const_value is None:
        return []
    chain: list[Any] = []
    value = split.inputs[0]
    while (node := value.producer()) is not None and len(value.uses()) == 1:
        chain.insert(0, node)
        if node.op_type == "Conv":
            group = node.attributes["group"].as_int() if "group" in node.attributes else 1
            return chain if group == 1 else []
        if node.op_type not in _POINTWISE:
            return []
        value = node.inputs[0]
    return []


def _replace(graph: Any, split: Any, chain: list[Any]) -> None:
    import onnx_ir as ir

    bounds = np.cumsum([0, *split.inputs[1].const_value.numpy().tolist()]).tolist()
    for output, (start, stop) in zip(split.outputs, pairwise(bounds), strict=True):
        value = chain[0].inputs[0]
        for node in chain:
            parameters = [_rows(graph, split, each, start, stop) for each in node.inputs[1:]]
            part = ir.Node("", node.op_type, [value, *parameters], list(node.attributes.values()), num_outputs=1)
            value = part.outputs[0]
            value.name, value.type = f"{node.outputs[0].name}.{start}", node.outputs[0].type
            shape = node.outputs[0].shape
            value.shape = None if shape is None else ir.Shape([shape[0], stop - start, *shape[2:]])
            graph.insert_before(split, part)
        output.replace_all_uses_with(value)
    graph.remove([*reversed([*chain, split])], safe=True)


def _rows(graph: Any, before: Any, value: Any, start: int, stop: int) -> Any:
    """Rows ``start:stop`` of a constant, or of what a DequantizeLinear makes of constants."""
    import onnx_ir as ir

    if value is None:
        return None
    producer = value.producer()
    if producer is None:
        name = f"{value.name}.{start}"
        if name in graph.initializers:
            return graph.initializers[name]
        rows = np.ascontiguousarray(value.const_value.numpy()[start:stop])
        part = ir.Value(name=name, type=value.type, shape=ir.Shape(rows.shape), const_value=ir.tensor(rows, name=name))
        graph.register_initializer(part)
        return part
    inputs = [_rows(graph, before, each, start, stop) for each in producer.inputs]
    node = ir.Node(producer.domain, producer.op_type, inputs, list(producer.attributes.values()), num_outputs=1)
    node.outputs[0].name, node.outputs[0].type = f"{value.name}.{start}", value.type
    graph.insert_before(before, node)
    return node.outputs[0]
