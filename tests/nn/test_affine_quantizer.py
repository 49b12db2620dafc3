import numpy as np
import pytest
import torch

from dfsq.nn import AffineQuantizer

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")


def by_onnxruntime(x: np.ndarray, quantizer: AffineQuantizer, axis: int) -> np.ndarray:
    """What ONNX Runtime's QuantizeLinear and DequantizeLinear make of ``x``."""
    helper, array = onnx.helper, onnx.numpy_helper.from_array
    values = {
        "steps": quantizer.steps.numpy(),
        "zeros": quantizer.zero_points.numpy(),
        "scale": quantizer.scale.numpy(),
        "zero": quantizer.zero_point.numpy(),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "steps", "zeros"], ["codes"], axis=axis),
        helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, 1, list(x.shape)) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [array(np.asarray(v), k) for k, v in values.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


@pytest.mark.parametrize("axis", [1, 3])
@pytest.mark.parametrize("equalized", [False, True])
def test_the_grid_is_that_of_onnxruntime(axis: int, equalized: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 5, 7, 5, generator=generator) * 3
    x[0] = (x[0] / 0.125).round() * 0.125 + 0.0625  # halves of the scale below
    factors = torch.tensor([1.0, 0.5, 0.25, 2.0, 1 / 3]) if equalized else None
    for zero_point in (0, 3, 128, 255):
        quantizer = AffineQuantizer(0.125, zero_point, 8, factors, axis)
        np.testing.assert_array_equal(quantizer(x).numpy(), by_onnxruntime(x.numpy(), quantizer, axis))


def test_codes_of_fewer_bits_saturate() -> None:
    quantizer = AffineQuantizer(1.0, 2, 3)
    found = quantizer(torch.tensor([[[[-9.0, -2.0, -0.6, 0.0, 0.5, 1.5, 4.6, 9.0]]]]))
    assert found.flatten().tolist() == [-2, -2, -1, 0, 0, 2, 5, 5]
