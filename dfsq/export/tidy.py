"""Passes over a graph that torch wrote: what no reader needs goes, what readers look for gets its name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

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


def drop_empty_updates(graph: onnx.ModelProto) -> None:
    """Remove ScatterND nodes that write a constant without elements, which OpenVINO takes for one with one."""
    body = graph.graph
    empty = {each.name for each in body.initializer if 0 in each.dims}
    same = {
        node.output[0]: node.input[0] for node in body.node if node.op_type == "ScatterND" and node.input[2] in empty
    }
    for node in [each for each in body.node if each.output and each.output[0] in same]:
        body.node.remove(node)
    for node in body.node:
        for index, name in enumerate(node.input):
            while name in same:
                name = same[name]
            node.input[index] = name
