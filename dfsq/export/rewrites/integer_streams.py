"""Integers from layer to layer: what ONNX Runtime needs to run everything between convolutions on them.

It fuses an operator where every tensor that the operator reads comes out of a DequantizeLinear and what it makes goes
into one QuantizeLinear. So every map is rounded once, on one grid, which all its readers share, and operators that
torch computes in full precision are given grids that follow from those of their inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_FULL = 255
_SAME = frozenset(("DepthToSpace", "MaxPool", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"))
"""Operators that move values and make no new ones."""

_FUSED = frozenset(("Add", "AveragePool", "Concat", "Conv", "GlobalAveragePool", "LeakyRelu", "Mul", "Relu", "Sigmoid"))
_FUSED |= _SAME

Grid = tuple[float, int]


def integer_streams(graph: Any) -> None:
    """Rewrite ``graph`` (``onnx_ir.Graph``) in place: rounded differently, by less than the steps of its grids."""
    for node in list(graph):
        _merge_scale(graph, node)
    values = [*graph.inputs, *(output for node in graph for output in node.outputs)]
    for value in values:
        _share(graph, value)
    for node in list(graph):
        if node.graph is None:
            continue  # removed meanwhile
        for output, grid in zip(node.outputs, _grids(node), strict=False):
            readers = [use.node.op_type for use in output.uses()]
            if grid is None or not any(map(_is_wanted, node.outputs)) or not readers or output.is_graph_output():
                continue
            if "QuantizeLinear" not in readers or node.op_type in _SAME:
                _share(graph, _round(graph, node, output, grid))
        if node.op_type == "Concat":
            _round_parts(graph, node)


def _round_parts(graph: Any, concat: Any) -> None:
    """Put what ``concat`` joins on its own grid, where it comes out of integers and has none."""
    rounded = [use.node for use in concat.outputs[0].uses() if use.node.op_type == "QuantizeLinear"]
    grids = [_grid_of(_reader(each).outputs[0]) for each in rounded if _reader(each) is not None]
    grid = grids[0] if len(grids) == 1 else None
    if grid is None:
        return
    for value in concat.inputs:
        producer = value.producer()
        if _fuses(producer) and producer.op_type in ("Add", "Mul") and len(value.uses()) == 1:
            _round(graph, producer, value, grid)


def _grids(node: Any) -> list[Grid | None]:
    """For every output of ``node`` the grid that follows from those of its inputs, else None."""
    known = [_grid_of(value) for value in node.inputs if value is not None]
    kind = node.op_type
    if kind == "Sigmoid":
        # In full precision up to here, perhaps; what it weighs is a map of integers.
        return [(1 / _FULL, 0)] if _weighs(node.outputs[0]) else []
    first = known[0] if known else None
    if first is None:
        return []
    if kind in _SAME:
        return [first] * len(node.outputs)
    low, high = _limits(first)
    if kind == "Relu":
        return [_covering(0.0, high)]
    if kind == "LeakyRelu":
        slope = node.attributes["alpha"].as_float() if "alpha" in node.attributes else 0.01
        return [_covering(min(low * slope, 0.0), high)]
    # What joins maps, as Concat does, might get a common grid, but not one on which nothing small drowns: calibration
    # has not seen it.
    return []


def _share(graph: Any, value: Any) -> None:
    """Round ``value`` on one grid for all that read it: its own where it has one, else the widest of theirs."""
    rounded = [use.node for use in value.uses() if use.node.op_type == "QuantizeLinear"]
    own = value.producer() if _is_dequantize(value.producer()) else None
    if not rounded or value.is_graph_output():
        return
    pairs = [(each, _reader(each)) for each in rounded]
    if any(dequantize is None or each.inputs[1].const_value.numpy().ndim for each, dequantize in pairs):
        return  # a grid per channel, or something that is no pair
    if own is not None:
        kept, source = None, value
    else:
        kept, dequantize = max(pairs, key=lambda pair: float(pair[1].inputs[1].const_value.numpy()))
        source = dequantize.outputs[0]
    for each, dequantize in pairs:
        if each is not kept:
            dequantize.outputs[0].replace_all_uses_with(source)
            graph.remove([dequantize, each], safe=True)
    exact = kept is not None and not _fuses(value.producer())
    for use in list(value.uses()):
        # What is computed in full precision anyway stays so for those who compute in full precision themselves.
        if kept is not None and use.node is not kept and (not exact or _fuses(use.node, but=value)):
            use.node.replace_input_with(use.idx, source)
    if kept is not None:
        # The others may come before the layer that rounded it.
        producer, nodes = value.producer(), [kept, source.producer()]
        graph.remove(nodes)
        if producer is None:
            graph.insert_before(graph[0], nodes)
        else:
            graph.insert_after(producer, nodes)
    _fit_biases(graph, source)


def _fit_biases(graph: Any, value: Any) -> None:
    """Give the int32 biases of the convolutions that read ``value`` the unit of its grid."""
    grid = _grid_of(value)
    for use in value.uses():
        node = use.node
        if grid is None or node.op_type != "Conv" or len(node.inputs) < 3 or node.inputs[2] is None:
            continue
        weight, bias = node.inputs[1].producer(), node.inputs[2].producer()
        if not _is_dequantize(weight) or not _is_dequantize(bias):
            continue
        codes, scale = (each.const_value.numpy() for each in bias.inputs[:2])
        unit = (weight.inputs[1].const_value.numpy() * np.float32(grid[0])).astype(np.float32)
        if np.array_equal(unit, scale):
            continue
        rounded = np.rint(codes.astype(np.float64) * scale / unit)
        if np.abs(rounded).max() < 2**31:
            bias.replace_input_with(0, _constant(graph, f"{bias.inputs[0].name}.fitted", rounded.astype(np.int32)))
            bias.replace_input_with(1, _constant(graph, f"{bias.inputs[1].name}.fitted", unit))


def _merge_scale(graph: Any, node: Any) -> None:
    """A map of integers times a constant number is the same integers at another scale."""
    if node.op_type != "Mul":
        return
    for value, factor in (node.inputs, reversed(node.inputs)):
        number = factor.const_value
        source = value.producer()
        if number is not None and number.size == 1 and _is_dequantize(source) and float(number.numpy().item()) > 0:
            scale = np.float32(source.inputs[1].const_value.numpy() * number.numpy().item())
            merged = _dequantize(source.inputs[0], _constant(graph, f"{node.outputs[0].name}.scale", scale), source)
            _name(merged, node.outputs[0])
            graph.insert_before(node, merged)
            node.outputs[0].replace_all_uses_with(merged.outputs[0])
            graph.remove(node, safe=True)
            return


def _round(graph: Any, node: Any, value: Any, grid: Grid) -> Any:
    """Put a QuantizeLinear and a DequantizeLinear between ``value``, which ``node`` makes, and its readers.

    Returns what these read then.
    """
    import onnx_ir as ir

    scale = _constant(graph, f"{value.name}.grid_scale", np.float32(grid[0]))
    zero_point = _constant(graph, f"{value.name}.grid_zero_point", np.uint8(grid[1]))
    quantize = ir.Node("", "QuantizeLinear", [value, scale, zero_point], num_outputs=1)
    codes = quantize.outputs[0]
    codes.name, codes.shape, codes.type = f"{value.name}.codes", value.shape, ir.TensorType(ir.DataType.UINT8)
    dequantize = ir.Node("", "DequantizeLinear", [codes, scale, zero_point], num_outputs=1)
    _name(dequantize, value)
    for use in list(value.uses()):
        if use.node is not quantize:
            use.node.replace_input_with(use.idx, dequantize.outputs[0])
    graph.insert_after(node, [quantize, dequantize])
    return dequantize.outputs[0]


def _dequantize(codes: Any, scale: Any, like: Any) -> Any:
    import onnx_ir as ir

    attributes = list(like.attributes.values())
    return ir.Node("", "DequantizeLinear", [codes, scale, *like.inputs[2:]], attributes, num_outputs=1)


def _name(node: Any, value: Any) -> None:
    output = node.outputs[0]
    output.name, output.shape, output.type = f"{value.name}.rounded", value.shape, value.type


def _weighs(value: Any) -> bool:
    """Whether integers are multiplied with ``value``, or with a part of it."""
    for use in value.uses():
        if use.node.op_type == "Mul" and _fuses(use.node, but=value):
            return True
        if use.node.op_type == "Split" and any(map(_weighs, use.node.outputs)):
            return True
    return False


def _is_wanted(value: Any) -> bool:
    """Whether what ``value`` leads to, through operators that run on integers, is rounded."""
    for use in value.uses():
        if use.node.op_type == "QuantizeLinear":
            return True
        if use.node.op_type in _FUSED - {"Conv"} and any(map(_is_wanted, use.node.outputs)):
            return True
    return False


def _fuses(node: Any, but: Any = None) -> bool:
    """Whether the engine can run ``node`` on integers: all maps that it reads, ``but`` one, come out of grids."""
    if node is None or node.op_type not in _FUSED:
        return False
    read = [each for each in node.inputs if each is not None and each is not but and each.const_value is None]
    if node.op_type == "Relu":  # with what it follows
        return all(_fuses(each.producer()) for each in read)
    return all(_is_dequantize(each.producer()) for each in read)


def _reader(quantize: Any) -> Any:
    """The DequantizeLinear behind ``quantize``; None where something else reads it."""
    uses = quantize.outputs[0].uses()
    return uses[0].node if len(uses) == 1 and _is_dequantize(uses[0].node) else None


def _is_dequantize(node: Any) -> bool:
    return node is not None and node.op_type == "DequantizeLinear"


def _grid_of(value: Any) -> Grid | None:
    """Scale and zero point of the grid that ``value`` lies on; None for one that is not rounded, or by channels."""
    node = value.producer()
    if not _is_dequantize(node) or node.inputs[1].const_value is None or node.inputs[1].const_value.size != 1:
        return None
    return float(node.inputs[1].const_value.numpy()), int(node.inputs[2].const_value.numpy())


def _limits(grid: Grid) -> tuple[float, float]:
    scale, zero_point = grid
    return -scale * zero_point, scale * (_FULL - zero_point)


def _covering(low: float, high: float) -> Grid:
    """The finest grid from ``low`` to ``high`` that holds 0."""
    scale = (high - low) / _FULL or 1.0
    zero_point = round(-low / scale)
    below = -low / zero_point if zero_point else 0.0
    above = high / (_FULL - zero_point) if zero_point < _FULL else 0.0
    return max(below, above, 1e-30), zero_point


def _constant(graph: Any, name: str, array: Any) -> Any:
    import onnx_ir as ir

    tensor = ir.tensor(np.asarray(array), name=name)
    value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(np.shape(array)), const_value=tensor)
    graph.register_initializer(value)
    return value
