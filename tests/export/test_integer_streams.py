"""Networks quantized for ONNX Runtime: what it fuses, and what becomes of the picture."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dfsq
import dfsq.export
from calibration import PatchStream, quantize, recipe
from dfsq import networks
from dfsq.errors import UsageError
from dfsq.evaluation.samples import calibration_images
from dfsq.model import SRModel
from dfsq.networks.edsr import EDSR
from dfsq.networks.imdn import IMDN
from dfsq.networks.rlfn import RLFN
from dfsq.nn import quantized_layers

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

NETWORKS: dict[str, Any] = {
    "edsr": lambda: EDSR(2, 2, 8, 1.0),
    "imdn": lambda: IMDN(2, 2, 8, 2, 2),
    "rlfn": lambda: RLFN(2, 2, 8, 8, 4),
}


@pytest.fixture(scope="module")
def picture() -> Tensor:
    (patch,) = PatchStream(calibration_images(), scale=2, patches=1, patch_size=94, seed=3)
    return patch


@pytest.fixture(scope="module", params=NETWORKS)
def made(request: pytest.FixtureRequest) -> tuple[str, SRModel, SRModel, bytes]:
    """Name, network, quantized network and graph."""
    torch.manual_seed(0)
    model = networks.from_state(NETWORKS[request.param]().state_dict())
    chosen = recipe("int8", patches=2, patch_size=96, float_share=0.0, target="onnxruntime")
    patches = PatchStream(calibration_images(), scale=2, patches=2, patch_size=96)
    quantized = quantize(model, patches, chosen)
    return request.param, model, quantized, dfsq.export.to_onnx(quantized).SerializeToString()


def optimized(graph: bytes, folder: Path) -> Counter[str]:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(graph, options)
    return Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)


def test_everything_between_convolutions_is_fused(made: tuple[str, SRModel, SRModel, bytes], tmp_path: Path) -> None:
    name, _, quantized, graph = made
    kinds = optimized(graph, tmp_path)
    layers = [layer for _, layer in quantized_layers(quantized.net) if layer.input_quantizer is not None]
    assert kinds["QLinearConv"] == len(layers)
    assert kinds["LeakyRelu"] == kinds["Relu"] * (name != "rlfn") == 0
    assert kinds["QLinearLeakyRelu"] == {"edsr": 0, "imdn": 2 * 3 + 1, "rlfn": 2 * 3}[name]
    assert kinds["QLinearAdd"] >= 2


def test_one_grid_per_map(made: tuple[str, SRModel, SRModel, bytes]) -> None:
    _, _, _, graph = made
    nodes = onnx.load_model_from_string(graph).graph.node
    readers = Counter(node.input[0] for node in nodes if node.op_type == "QuantizeLinear")
    assert set(readers.values()) == {1}


def test_the_picture_is_as_good_as_in_torch(
    made: tuple[str, SRModel, SRModel, bytes], picture: Tensor, tmp_path: Path
) -> None:
    """Maps are rounded where torch does not: the result differs, by about what rounding does anyway."""
    _, model, quantized, graph = made
    (tmp_path / "m.onnx").write_bytes(graph)
    found = dfsq.engine(tmp_path / "m.onnx", "onnxruntime")(picture)
    with torch.inference_mode():
        exact, rounded = model(picture), quantized(picture)
    assert (found - exact).square().mean() < 4 * (rounded - exact).square().mean()
    assert (found - exact).square().mean() < 0.003 * exact.var()


def test_an_artifact_holds_it_all(made: tuple[str, SRModel, SRModel, bytes], picture: Tensor, tmp_path: Path) -> None:
    _, _, quantized, _ = made
    dfsq.save(quantized, tmp_path / "m.safetensors")
    loaded = dfsq.load(tmp_path / "m.safetensors")
    with torch.inference_mode():
        assert torch.equal(loaded(picture), quantized(picture))
    outputs = [layer.output_quantizer for _, layer in quantized_layers(loaded.net)]
    assert any(each is not None for each in outputs)
    dfsq.save(loaded, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()


def test_targets_that_an_artifact_is_not_for(made: tuple[str, SRModel, SRModel, bytes], small_model: SRModel) -> None:
    _, _, quantized, _ = made
    with pytest.raises(UsageError, match="`target` openvino, but the model was quantized for onnxruntime"):
        dfsq.export.to_onnx(quantized, target="openvino")
    other = quantize(small_model, [torch.rand(2, 3, 24, 24)], recipe("int8"))
    with pytest.raises(UsageError, match="quantized for openvino; quantize it for onnxruntime"):
        dfsq.export.to_onnx(other, target="onnxruntime")


def test_the_target_needs_what_it_goes_by() -> None:
    with pytest.raises(UsageError, match="`target` means nothing to the method one-pass, only to integers"):
        recipe("fast", target="onnxruntime")
    with pytest.raises(UsageError, match="unknown target 'tpu'"):
        recipe("int8", target="tpu")


def test_a_constant_factor_is_one_of_the_grid(tmp_path: Path) -> None:
    info = networks.from_state(EDSR(2, 2, 8, 1.0).state_dict()).info
    model = SRModel(EDSR(2, 2, 8, 0.1), info, ())
    chosen = recipe("int8", float_share=0.0, target="onnxruntime")
    graph = dfsq.export.to_onnx(quantize(model, [torch.rand(2, 3, 24, 24)], chosen)).SerializeToString()
    kinds = optimized(graph, tmp_path)
    assert kinds["QLinearAdd"] == 3
    assert kinds["Mul"] <= 1  # into the range of the network
