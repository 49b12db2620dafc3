"""Networks of the recipe int8 in the engines that run integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import dfsq
import dfsq.export
from calibration import PatchStream, quantize, recipe
from dfsq import networks
from dfsq.evaluation.metrics import score
from dfsq.evaluation.samples import calibration_images
from dfsq.evaluation.upscaling import upscale_image
from dfsq.export.rewrites.split_convolutions import split_convolutions
from dfsq.images.picture import read_picture
from dfsq.model import SRModel
from dfsq.networks.imdn import IMDN
from dfsq.nn import AffineQuantizer, quantized_layers

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
ir = pytest.importorskip("onnx_ir", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

REAL = {"edsr_baseline_x2.safetensors": (2, 6, 0.05), "carn_m.pth": (2, 6, 0.05), "rlfn_ntire_x4.pth": (4, 8, 0.25)}
"""Scale, patches to calibrate on, and the largest drop on a picture of strong colours and stripes."""


def calibrated(model: SRModel, **changes: Any) -> SRModel:
    chosen = recipe("int8", patches=2, patch_size=48 * model.scale, **changes)
    patches = PatchStream(calibration_images(), scale=model.scale, patches=2, patch_size=chosen.patch_size)
    return quantize(model, patches, chosen)


@pytest.fixture(scope="module")
def picture() -> Tensor:
    (patch,) = PatchStream(calibration_images(), scale=2, patches=1, patch_size=94, seed=3)
    return patch


@pytest.fixture(scope="module")
def imdn() -> SRModel:
    torch.manual_seed(0)
    return networks.from_state(IMDN(2, 2, 16, 4, 4).state_dict())


def test_a_graph_of_integers_is_what_engines_fuse(plausible_model: SRModel, picture: Tensor, tmp_path: Path) -> None:
    quantized = calibrated(plausible_model, float_share=0.0)
    graph = dfsq.export.to_onnx(quantized)
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.graph.initializer}
    made_by = {output: node for node in graph.graph.node for output in node.output}
    convolutions = {node.input[1]: node for node in graph.graph.node if node.op_type == "Conv"}
    layers = dict(quantized_layers(quantized.net))
    for name, layer in layers.items():
        node = convolutions[f"net.{name}.weight.dequantized"]
        assert isinstance(layer.input_quantizer, AffineQuantizer)
        assert [made_by[each].op_type for each in node.input] == ["DequantizeLinear"] * 3
        assert made_by[made_by[node.input[0]].input[0]].op_type == "QuantizeLinear"
        weight, bias = (constants[made_by[each].input[0]] for each in node.input[1:])
        assert (weight.dtype, bias.dtype) == (np.int8, np.int32)
        assert np.abs(weight.astype(int)).max() <= 64
        for operand in node.input[1:]:
            assert not constants[made_by[operand].input[2]].any()  # zero points
        unit = constants[made_by[node.input[2]].input[1]]
        np.testing.assert_allclose(unit, layer.quantized_weight.scale.numpy() * float(layer.input_quantizer.scale))
        np.testing.assert_allclose(bias * unit, layer.bias.detach().numpy(), atol=unit.max())
    (tmp_path / "m.onnx").write_bytes(graph.SerializeToString())
    with torch.inference_mode():
        expected = quantized(picture)
    for engine in ("onnxruntime", "openvino"):
        found = dfsq.engine(tmp_path / "m.onnx", engine)(picture)
        assert ((found - expected).abs() <= 1.001 / 255).float().mean() > 0.999


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 1), (2, 2)])
def test_pictures_of_a_few_pixels(plausible_model: SRModel, size: tuple[int, int], tmp_path: Path) -> None:
    """OpenVINO makes something else of a single pixel: it is given two rows of two."""
    quantized = calibrated(plausible_model)
    (tmp_path / "m.onnx").write_bytes(dfsq.export.to_onnx(quantized).SerializeToString())
    colour = torch.tensor([200, 60, 120]).view(1, 3, 1, 1) / 255
    engine = dfsq.engine(tmp_path / "m.onnx", "openvino", precision="f32")
    found = engine(colour.expand(1, 3, *size))
    height, width = size
    with torch.inference_mode():
        expected = quantized(colour.expand(1, 3, max(height, 2), max(width, 2)))[..., : 2 * height, : 2 * width]
    assert ((found - expected).abs() <= 1.001 / 255).float().mean() > 0.95


def test_a_split_of_a_convolution_is_a_convolution_each(imdn: SRModel, picture: Tensor) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = imdn.net

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.net(x)
            return result

    program = torch.onnx.export(Plain().eval(), (picture,), dynamo=True, verbose=False)
    assert program is not None
    before = program.model_proto.SerializeToString()
    split_convolutions(program.model.graph)
    after = program.model_proto
    onnx.checker.check_model(after, full_check=True)
    kinds = [node.op_type for node in after.graph.node]
    assert "Split" not in kinds
    sessions = [onnxruntime.InferenceSession(each) for each in (before, after.SerializeToString())]
    results = [each.run(None, {each.get_inputs()[0].name: picture.numpy()})[0] for each in sessions]
    np.testing.assert_allclose(*results, atol=1e-6)


def test_codes_of_four_bits_saturate(plausible_model: SRModel, picture: Tensor, tmp_path: Path) -> None:
    """A baseline of 4 bits: asymmetric weights, codes up to 15."""
    patches = PatchStream(calibration_images(), scale=2, patches=2, patch_size=96)
    quantized = quantize(plausible_model, patches, recipe("minmax"))
    (tmp_path / "m.onnx").write_bytes(dfsq.export.to_onnx(quantized).SerializeToString())
    with torch.inference_mode():
        expected = quantized(3 * picture)  # far beyond what calibration saw
    found = dfsq.engine(tmp_path / "m.onnx", "onnxruntime")(3 * picture)
    assert ((found - expected).abs() <= 1.001 / 255).float().mean() > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("file", REAL)
def test_real_checkpoints_lose_next_to_nothing(data: Path, file: str, tmp_path: Path) -> None:
    scale, patches, limit = REAL[file]
    model = dfsq.load(data / "checkpoints" / file, scale=scale)
    stream = PatchStream([data / "images" / "bsds500-train"], scale=scale, patches=patches)
    quantized = quantize(model, stream, recipe("int8", patches=patches))
    dfsq.save(quantized, tmp_path / "m.safetensors")
    dfsq.export.export(quantized, tmp_path / "m.onnx")
    size = (tmp_path / "m.onnx").stat().st_size / sum(4 * each.numel() for each in model.parameters())
    assert size < 0.4  # layers left in float, names and grids weigh in networks of 300 000 parameters
    hr, lr = (
        read_picture(data / "benchmark" / "Set5" / name).rgb
        for name in ("HR/butterfly.png", f"LR_bicubic/X{scale}/butterflyx{scale}.png")
    )
    scores = []
    for engine in (dfsq.engine(model), dfsq.engine(tmp_path / "m.onnx", "openvino")):
        scores.append(score(upscale_image(engine, lr), hr, scale, None).psnr_y)
    assert scores[0] - scores[1] < limit
