"""Networks whose attention windows and masks depend on the size of the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from calibration import quantize, recipe
from dfsq.export import export
from dfsq.networks import from_state
from dfsq.networks.swinir import SwinIR
from dfsq.networks.torchvision_operators import import_module
from dfsq.nn import quantized_places

pytest.importorskip("onnxscript", reason="pip install 'dfsq[onnx]'")
pytest.importorskip("onnxruntime", reason="pip install 'dfsq[onnx]'")
pytest.importorskip("openvino", reason="pip install 'dfsq[openvino]'")
SWINIR = {
    "upscale": 2,
    "img_size": 8,
    "window_size": 4,
    "depths": [2],
    "embed_dim": 4,
    "num_heads": [2],
    "mlp_ratio": 2,
    "upsampler": "pixelshuffledirect",
    "resi_connection": "1conv",
}
CASES: list[tuple[str, dict[str, Any], Any]] = [
    ("SwinIR", SWINIR, 1),
    ("SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 4, "upscale": 2}, "N"),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:torch.meshgrid")
@pytest.mark.parametrize(("name", "arguments", "batch"), CASES)
def test_engines_compute_what_torch_computes(name: str, arguments: dict[str, Any], batch: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = getattr(import_module(f"spandrel.architectures.{name}"), name)(**arguments).state_dict()
    exported = export(from_state(state, arch=f"spandrel:{name}"), tmp_path / "a.onnx")
    assert [each.engine for each in exported.checks] == ["onnxruntime", "openvino"]
    assert exported.facts["input"]["shape"] == [batch, 3, "H", "W"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [None, "fast", "minmax"])
def test_engines_compute_what_the_transformer_of_dfsq_computes(name: str | None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = from_state(SwinIR(2, 8, [2], [2], 4, 12, "pixelshuffledirect").state_dict())
    if name is not None:
        model = quantize(model, [torch.rand(2, 3, 16, 12)], recipe(name))
        assert len(list(quantized_places(model.net))) == 8
    exported = export(model, tmp_path / "a.onnx")
    assert [each.engine for each in exported.checks] == ["onnxruntime", "openvino"]
    assert exported.facts["input"]["shape"] == ["N", 3, "H", "W"]
