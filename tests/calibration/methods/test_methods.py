"""What every method promises, whatever it does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dfsq
from calibration import Integers, PatchStream, Recipe, quantize
from calibration.methods.by_training import ByTraining
from calibration.methods.planned import Planned
from calibration.recipes.recipe import METHODS
from dfsq.artifact import read_header
from dfsq.evaluation.samples import calibration_images
from dfsq.model import NetworkInfo, SRModel
from dfsq.nn import quantized_layers

X = torch.rand(1, 3, 20, 22, generator=torch.Generator().manual_seed(4))


def images() -> PatchStream:
    return PatchStream(list(calibration_images()), scale=2, patches=2, patch_size=48)


@pytest.mark.parametrize("method", METHODS)
def test_a_new_model_that_tells_how_it_came_about(plausible_model: SRModel, tmp_path: Path, method: str) -> None:
    few = {"steps": 2, "batch": 2, "crop_size": 16} if issubclass(METHODS[method], ByTraining) else {}
    recipe = METHODS[method](name="mine", patches=2, patch_size=48, **few)
    before = {key: value.clone() for key, value in plausible_model.state_dict().items()}
    told: list[str] = []
    stream = images()
    quantized = quantize(plausible_model, stream, recipe, lambda what, *_: told.append(what))
    assert all(torch.equal(before[key], value) for key, value in plausible_model.state_dict().items())
    assert told
    dfsq.save(quantized, tmp_path / "a.safetensors")
    header = read_header(tmp_path / "a.safetensors")
    stated = json.loads(json.dumps(recipe.to_dict()))
    if "ranges" in stated:
        stated["ranges"] = "sample"  # what auto is at four bits
    assert header["recipe"] == stated
    assert (header["recipe"]["name"], header["recipe"]["method"]) == ("mine", method)
    if not recipe.trains:  # patches are cut from what is not set aside
        assert header["calibration"]["sha256"] == stream.fingerprint
    with torch.inference_mode():
        assert torch.equal(dfsq.load(tmp_path / "a.safetensors")(X), quantized(X))


class Remembering(nn.Module):
    """A network that keeps what it needs later in itself, if it ``remembers``."""

    def __init__(self, remembers: bool) -> None:
        super().__init__()
        self.head, self.body = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.tail, self.upsampler = nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2)
        self.map = torch.empty(0)
        self._remembers = remembers

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        self.map = x
        y = self.body(x.relu())
        return self.upsampler(self.tail(y + (self.map if self._remembers else x)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", METHODS)
def test_what_a_network_keeps_in_itself_is_of_the_image_it_works_on(method: str) -> None:
    few = {"steps": 2, "batch": 2, "crop_size": 16} if issubclass(METHODS[method], ByTraining) else {}
    outputs = []
    for remembers in (False, True):
        torch.manual_seed(0)
        model = SRModel(Remembering(remembers), NetworkInfo("own", {}, 2, 1.0), ("body", "tail"))
        recipe = METHODS[method](patches=6, patch_size=48, **few)
        stream = PatchStream(list(calibration_images()), scale=2, patches=6, patch_size=48)
        outputs.append(quantize(model, stream, recipe)(X))
    assert torch.equal(*outputs)


@pytest.mark.parametrize("method", [name for name, kind in METHODS.items() if issubclass(kind, Planned)])
def test_layers_are_rounded_as_the_method_says(plausible_model: SRModel, method: str) -> None:
    recipe = METHODS[method].of({"w_bits": 5, "a_bits": 6, "scope": "body", "outside_bits": None})
    layers = dict(quantized_layers(quantize(plausible_model, images(), recipe).net))
    inside = {name: each for name, each in layers.items() if each.input_quantizer}
    assert set(inside) <= set(plausible_model.body)
    assert {each.quantized_weight.bits for each in inside.values()} == {5}
    assert {each.input_quantizer.bits for each in inside.values() if each.input_quantizer} == {6}


@pytest.mark.parametrize(("changes", "outputs"), [({}, False), ({"target": "onnxruntime"}, True)])
def test_integers_go_on_from_layer_to_layer_in_onnx_runtime(
    plausible_model: SRModel, changes: dict[str, Any], outputs: bool
) -> None:
    recipe: Recipe = Integers(float_share=0.0, **changes)
    layers = dict(quantized_layers(quantize(plausible_model, images(), recipe).net))
    assert any(each.output_quantizer is not None for each in layers.values()) == outputs
