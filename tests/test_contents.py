"""What an artifact tells without its network, against the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dfsq import load, nn, save
from dfsq.artifact.contents import contents
from dfsq.model import Quantization, SRModel
from dfsq.networks import architectures, from_state
from dfsq.quantizers.weights import UniformWeight

SWINIR = {"features": 8, "depths": [2], "heads": [2], "window": 4, "hidden": 12, "upsampled": 64, "deep": False}
SWINIR |= {"bias": True, "embedding_norm": True, "shifted": True, "scale": 2, "upsampler": "pixelshuffledirect"}
NETWORKS: dict[str, dict[str, Any]] = {
    "srresnet": {"scale": 2, "blocks": 2, "features": 8, "bias": False},
    "imdn": {"scale": 2, "blocks": 2, "features": 16, "distilled": 4, "squeezed": 2},
    "pan": {"scale": 3, "blocks": 2, "features": 8, "upsampled": 6},
    "swinir": SWINIR,
}
"""With batch normalization, shared names, and buffers of their own."""


def quantized(name: str) -> SRModel:
    torch.manual_seed(0)
    net = architectures()[name].build(**NETWORKS[name], channels=3)
    model = from_state(net.state_dict(), arch=name, scale=NETWORKS[name]["scale"])
    for each in model.body:
        layer = model.net.get_submodule(each)
        weight = layer.weight.detach()
        grid = torch.full((len(weight),), 0.1), torch.full((len(weight),), 8.0)
        codes = torch.zeros(weight.shape, dtype=torch.uint8)
        nn.replace(model.net, each, nn.counterpart(layer, UniformWeight(codes, *grid, 4), None))
    model.quantization = Quantization({"name": "by hand"}, {})
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_those_of_the_network(tmp_path: Path, name: str) -> None:
    model = quantized(name)
    save(model, tmp_path / "q.safetensors")
    assert contents(tmp_path / "q.safetensors").parameters == sum(each.numel() for each in model.parameters())


def test_bounds_are_those_of_the_network(
    tmp_path: Path, plausible_model: SRModel, with_bounds: Callable[[SRModel, bool], SRModel]
) -> None:
    path = tmp_path / "b.safetensors"
    save(with_bounds(plausible_model, True), path)
    found = contents(path).bounds
    expected = {
        name: {"lower": each.lower.item(), "upper": each.upper.item(), "gate": each.gate is not None}
        for name, each in nn.quantizers(load(path).net).items()
        if isinstance(each, nn.BoundsQuantizer)
    }
    assert found == expected
    assert {each["gate"] for each in found.values()} == {True, False}
