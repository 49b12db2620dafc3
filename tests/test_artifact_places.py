"""Artifacts of networks quantized between bounds, at places and at inputs, with gates and without."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import dfsq
from calibration import OnePass, quantize
from dfsq import networks, nn
from dfsq.artifact import read_header
from dfsq.model import SRModel
from dfsq.networks import architectures
from dfsq.quantizers.universal import UniversalSet

X = torch.rand(2, 3, 20, 22, generator=torch.Generator().manual_seed(4))
NETWORKS: dict[str, dict[str, Any]] = {
    "edsr": {"scale": 2, "blocks": 2, "features": 8, "residual_scale": 1.0},
    "rdn": {"scale": 2, "blocks": 2, "convs": 2, "features": 8, "growth": 4},
    "srresnet": {"scale": 2, "blocks": 2, "features": 8, "bias": True},
}
WithBounds = Callable[[SRModel, bool], SRModel]


def model(name: str) -> SRModel:
    return networks.from_state(architectures()[name].build(**NETWORKS[name]).state_dict())


@pytest.mark.parametrize("gates", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_reloaded_outputs_are_equal_to_the_bit(with_bounds: WithBounds, tmp_path: Path, name: str, gates: bool) -> None:
    saved = with_bounds(model(name), gates)
    dfsq.save(saved, tmp_path / "a.safetensors")
    reloaded = dfsq.load(tmp_path / "a.safetensors")
    with torch.inference_mode():
        expected = saved(X)
        assert torch.equal(reloaded(X), expected)
        assert torch.equal(torch.cat([reloaded(each) for each in X.split(1)]), torch.cat([saved(X[:1]), saved(X[1:])]))
        plain = model(name)
        plain.net.load_state_dict({**plain.net.state_dict(), **reloaded.net.state_dict()})
        assert not torch.equal(plain(X), expected)
    assert dict(nn.quantized_places(reloaded.net)).keys() == dict(nn.places(plain.net)).keys()
    dfsq.save(reloaded, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_place_takes_any_kind_of_quantizer(small_model: SRModel, tmp_path: Path) -> None:
    saved = quantize(small_model, [X], OnePass())
    universal = UniversalSet(3)
    points = universal.numerators[:: len(universal) // 4][:4].repeat(8, 1)
    nn.replace(saved.net, "body.0.skip", nn.SubsetQuantizer(points, True, 2, universal, 1))
    nn.replace(saved.net, "body.1.output", nn.AffineQuantizer(0.5, 8, 4))
    dfsq.save(saved, tmp_path / "a.safetensors")
    with torch.inference_mode():
        assert torch.equal(dfsq.load(tmp_path / "a.safetensors")(X), saved(X))
    assert read_header(tmp_path / "a.safetensors")["places"] == {
        "body.0.skip": {"kind": "subset", "bits": 2, "signed": True, "words": 3},
        "body.1.output": {"kind": "affine", "bits": 4, "signed": True, "words": 4},
    }


def test_files_without_places_say_nothing_of_them(small_model: SRModel, tmp_path: Path) -> None:
    dfsq.save(quantize(small_model, [X], OnePass()), tmp_path / "a.safetensors")
    assert "places" not in read_header(tmp_path / "a.safetensors")
