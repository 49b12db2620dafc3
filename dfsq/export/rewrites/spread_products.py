"""Concat → product with a weight per channel becomes a product per part.

The parts have grids of their own, which calibration has seen; what they make joined has none before it is weighed, and
on a common one small parts would drown.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np


def spread_products(graph: Any) -> None:
    """Rewrite ``graph`` (``onnx_ir.Graph``) in place; its outputs stay the same to the bit."""
    for node in list(graph):
        if node.op_type == "Mul":
            for joined, weights in (node.inputs, reversed(node.inputs)):
                if sizes := _parts(joined, weights):
                    _replace(graph, node, joined.producer(), weights, sizes)
                    break


def _parts(joined: Any, weights: Any) -> list[int]:
    """Channels of each part of ``joined``, where ``weights`` has one value for each of them; else empty."""
    concat = joined.producer()
    if concat is None or concat.op_type != "Concat" or concat.attributes["axis"].as_int() != 1:
        return []
    shapes = [each.shape for each in (*concat.inputs, weights)]
    if any(shape is None or shape.rank() != 4 or not isinstance(shape[1], int) for shape in shapes):
        return []
    *sizes, total = (int(shape[1]) for shape in shapes)
    return sizes if sum(sizes) == total and list(shapes[-1][2:]) == [1, 1] else []


def _replace(graph: Any, product: Any, concat: Any, weights: Any, sizes: list[int]) -> None:
    import onnx_ir as ir

    name = product.outputs[0].name
    tensor = ir.tensor(np.array(sizes, np.int64), name=f"{name}.sizes")
    constant = ir.Value(
        name=tensor.name, type=ir.TensorType(tensor.dtype), shape=ir.Shape([len(sizes)]), const_value=tensor
    )
    graph.register_initializer(constant)
    axis = ir.AttrInt64("axis", 1)
    split = ir.Node("", "Split", [weights, constant], [axis], num_outputs=len(sizes))
    products = [ir.Node("", "Mul", pair, num_outputs=1) for pair in zip(concat.inputs, split.outputs, strict=True)]
    whole = ir.Node("", "Concat", [each.outputs[0] for each in products], [axis], num_outputs=1)
    bounds = np.cumsum([0, *sizes]).tolist()
    for index, (start, _) in enumerate(pairwise(bounds)):
        part, weight = concat.inputs[index], split.outputs[index]
        weight.name, weight.type = f"{weights.name}.{start}.{name}", weights.type
        weight.shape = ir.Shape([weights.shape[0], sizes[index], 1, 1])
        made = products[index].outputs[0]
        made.name, made.type, made.shape = f"{name}.{start}", part.type, part.shape
    output = whole.outputs[0]
    output.name, output.type, output.shape = f"{name}.joined", product.outputs[0].type, product.outputs[0].shape
    graph.insert_before(product, [split, *products, whole])
    product.outputs[0].replace_all_uses_with(output, replace_graph_outputs=True)
    graph.remove(product, safe=True)
