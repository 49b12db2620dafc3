"""Passes over a graph that torch wrote: what no reader needs goes, what readers look for gets its name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx


def drop_notes(graph: onnx.ModelProto) -> None:
    """Remove the notes that torch leaves on every node and value: two thirds of a small file."""
    del graph.metadata_props[:]
    graph.doc_string = ""
    _drop_notes(graph.graph)
    for function in graph.functions:
        del function.metadata_props[:]
        for node in function.node:
            _drop_node_notes(node)


def _drop_notes(graph: onnx.GraphProto) -> None:
    for each in (graph, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del each.metadata_props[:]
    for node in graph.node:
        _drop_node_notes(node)


def _drop_node_notes(node: onnx.NodeProto) -> None:
    del node.metadata_props[:]
    node.doc_string = ""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            _drop_notes(attribute.g)


def name_dimensions(graph: onnx.ModelProto, scale: int) -> None:
    """Call the free dimensions of the input N, H and W, and those of the output by them."""
    names: dict[str, str] = {}
    dims = graph.graph.input[0].type.tensor_type.shape.dim
    for dim, name in zip(dims, ("N", "C", "H", "W"), strict=True):
        if dim.dim_param:
            names[dim.dim_param] = name
    for value in (*graph.graph.input, *graph.graph.output, *graph.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"\w+", lambda found: names.get(found[0], found[0]), dim.dim_param)
    output = graph.graph.output[0].type.tensor_type.shape.dim
    for to, of, factor in zip(output, dims, (1, 1, scale, scale), strict=True):
        if of.dim_param:
            to.dim_param = of.dim_param if factor == 1 else f"{factor}*{of.dim_param}"
        else:
            to.dim_value = of.dim_value * factor


def drop_unused(graph: onnx.ModelProto) -> None:
    """Remove nodes and constants that nothing reads."""
    body = graph.graph
    while True:
        read = {name for node in body.node for name in _inputs(node)} | {value.name for value in body.output}
        dead = [node for node in body.node if not read.intersection(node.output)]
        for node in dead:
            body.node.remove(node)
        if not dead:
            break
    for values in (body.initializer, body.value_info):
        for value in [each for each in values if each.name not in read]:
            if values is body.initializer or value.name not in {out for node in body.node for out in node.output}:
                values.remove(value)


def _inputs(node: onnx.NodeProto) -> list[str]:
    """Names that a node reads, in its subgraphs too."""
    inner = [name for each in node.attribute if each.HasField("g") for sub in each.g.node for name in _inputs(sub)]
    results = [value.name for each in node.attribute if each.HasField("g") for value in each.g.output]
    return [*node.input, *inner, *results]


def spread_scattered_numbers(graph: onnx.ModelProto) -> None:
    """Give ScatterND the shape of updates that ONNX asks for, where torch wrote one number for all of them."""
    from onnx import helper, numpy_helper

    body = graph.graph
    nodes = list(body.node)
    numbers = {each.name for each in body.initializer if not each.dims}
    numbers |= {node.output[0] for node in nodes if node.op_type == "Constant" and not node.attribute[0].t.dims}
    del body.node[:]
    for index, node in enumerate(nodes):
        if node.op_type == "ScatterND" and node.input[2] in numbers:
            data, indices, number = node.input
            name = f"{node.output[0]}_spread"
            depth = _last_size(graph, indices)
            bounds = {"zero": [0], "minus": [-1], "depth": [depth], "end": [np.iinfo(np.int64).max]}
            for key, value in bounds.items():
                body.initializer.append(numpy_helper.from_array(np.array(value, np.int64), f"{name}_{key}"))
            body.node.extend(
                [
                    helper.make_node("Shape", [indices], [f"{name}_i"]),
                    helper.make_node("Slice", [f"{name}_i", f"{name}_zero", f"{name}_minus"], [f"{name}_a"]),
                    helper.make_node("Shape", [data], [f"{name}_d"]),
                    helper.make_node("Slice", [f"{name}_d", f"{name}_depth", f"{name}_end"], [f"{name}_b"]),
                    helper.make_node("Concat", [f"{name}_a", f"{name}_b"], [f"{name}_shape"], axis=0),
                    helper.make_node("Expand", [number, f"{name}_shape"], [name], name=f"spread_{index}"),
                ]
            )
            node.input[2] = name
        body.node.append(node)


def _last_size(graph: onnx.ModelProto, name: str) -> int:
    """Size of the last axis of what is called ``name``, 1 where nothing tells."""
    for value in graph.graph.value_info:
        if value.name == name and value.type.tensor_type.shape.dim:
            return value.type.tensor_type.shape.dim[-1].dim_value or 1
    return next((each.dims[-1] for each in graph.graph.initializer if each.name == name and each.dims), 1)
