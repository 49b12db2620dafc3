"""Every network of the registry, small and with random weights, in both engines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from dfsq import networks
from dfsq.export import export
from dfsq.model import SRModel
from dfsq.networks import architectures

pytest.importorskip("onnxscript", reason="pip install 'dfsq[onnx]'")
pytest.importorskip("onnxruntime", reason="pip install 'dfsq[onnx]'")
pytest.importorskip("openvino", reason="pip install 'dfsq[openvino]'")

TINY: Mapping[str, Mapping[str, Any]] = {
    "edsr": {"scale": 2, "blocks": 1, "features": 4, "residual_scale": 1.0},
    "srresnet": {"scale": 2, "blocks": 1, "features": 4, "bias": True},
    "msrresnet": {"scale": 3, "blocks": 1, "features": 4},
    "rdn": {"scale": 2, "blocks": 2, "convs": 1, "features": 4, "growth": 2},
    "imdn": {"scale": 3, "blocks": 1, "features": 8, "distilled": 2, "squeezed": 2},
    "rfdn": {"scale": 2, "blocks": 4, "features": 4, "distilled": 2, "attention": 2},
    "rlfn": {"scale": 2, "blocks": 1, "features": 4, "middle": 4, "attention": 2},
    "pan": {"scale": 4, "blocks": 1, "features": 4, "upsampled": 4},
    "carn": {"scale": 2, "features": 4, "mobile": True, "groups": 2},
    "rrdb": {"scale": 2, "blocks": 1, "features": 4, "growth": 2, "unshuffle": 2},
    "espcn": {"scale": 3, "widths": [4, 4], "activation": "tanh"},
    "fsrcnn": {"scale": 2, "features": 4, "shrunken": 2, "mappings": 1, "channels": 1},
    "srcnn": {"scale": 2, "widths": [4, 4], "kernels": [9, 1, 5]},
    "vdsr": {"scale": 3, "layers": 1, "features": 4, "bias": False},
    "swinir": {
        **{"scale": 2, "features": 4, "depths": [2], "heads": [2], "window": 4, "hidden": 4},
        "upsampler": "pixelshuffledirect",
    },
}
SMALLEST = {"rfdn": 15, "rlfn": 15}


def random_model(name: str) -> SRModel:
    torch.manual_seed(0)
    net = architectures()[name].build(**{"channels": 3, **TINY[name]}).eval()
    return networks.from_state(net.state_dict(), arch=name, scale=TINY[name]["scale"])


def test_every_network_is_here() -> None:
    assert set(TINY) == {name for name, each in architectures().items() if "dfsq.networks" in each.build.__module__}


@pytest.mark.parametrize("name", TINY)
def test_engines_compute_what_torch_computes(name: str, tmp_path: Path) -> None:
    exported = export(random_model(name), tmp_path / "a.onnx")
    assert [each.engine for each in exported.checks] == ["onnxruntime", "openvino"]
    assert all(each.difference <= 1e-5 for each in exported.checks)
    assert exported.facts["min_size"] == SMALLEST.get(name, 1)
    batch, channels, height, width = exported.facts["input"]["shape"]
    assert (batch, channels, height, width) == ("N", 3, "H", "W")
    assert exported.size == (tmp_path / "a.onnx").stat().st_size
