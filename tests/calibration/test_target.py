"""Quantizing within a drop, on a network small enough for many tries."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

import calibration
import dfsq
from calibration import PatchStream, Target
from dfsq.errors import UsageError
from dfsq.evaluation.benchmarks import Benchmark
from dfsq.evaluation.samples import calibration_images
from dfsq.model import SRModel
from dfsq.nn import quantized_layers

SOURCES = [
    image[top : top + 96, left : left + 96] for image in calibration_images() for top in (0, 200) for left in (0, 200)
]
LR = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model(plausible_model: SRModel) -> SRModel:
    """A network whose body is all of it: what carries the picture is what quantization harms."""
    plausible_model.body = (*plausible_model.body, "head.0", "tail.0.0", "tail.1")
    return plausible_model


@dataclass(frozen=True, kw_only=True)
class Copying(calibration.Recipe):
    """A method that knows no plan of bits."""

    method: ClassVar[str] = "copying"

    def quantize(self, model: SRModel, images: Any, progress: Any) -> SRModel:
        return copy.deepcopy(model)

    def phrase(self) -> str:
        return "nothing"


def divided() -> tuple[PatchStream, Benchmark]:
    rest, held_out = calibration.set_aside(SOURCES, scale=2, patch_size=48)
    return PatchStream(rest, scale=2, patches=4, patch_size=48), held_out


def within(model: SRModel, recipe: calibration.Recipe, share: float) -> tuple[SRModel, Target]:
    """With ``share`` of the drop that the recipe has by itself as target."""
    _, alone = calibration.quantize_within(model, *divided(), recipe, 100)
    return calibration.quantize_within(model, *divided(), recipe, share * alone.before)


def bits(model: SRModel) -> dict[str, tuple[int, int | None]]:
    return {
        name: (layer.quantized_weight.bits, layer.input_quantizer and layer.input_quantizer.bits)
        for name, layer in quantized_layers(model.net)
    }


def same(one: SRModel, other: SRModel) -> None:
    with torch.inference_mode():
        assert torch.equal(one(LR), other(LR))


_ROUGH: dict[str, Any] = {"words": 2, "block": None}
"""What leaves much to gain by more bits."""
RECIPES: dict[str, Callable[..., calibration.Recipe]] = {
    name: lambda name=name, rough=rough, **changes: calibration.recipe(name, w_bits=2, a_bits=2, **rough, **changes)
    for name, rough in (("fast", _ROUGH), ("accurate", _ROUGH), ("minmax", {}))
}


@pytest.mark.parametrize("name", RECIPES)
def test_layers_get_more_bits_until_the_target_holds(name: str, model: SRModel) -> None:
    recipe = RECIPES[name]()
    quantized, target = within(model, recipe, 0.6)
    _, held_out = divided()
    full, low = (dfsq.evaluate(each, [held_out])[0].mean.psnr_y for each in (model, quantized))
    assert target.taken.drop == pytest.approx(full - low, abs=1e-9)
    assert target.reached
    assert target.taken.drop <= target.limit < target.before
    assert 0 < target.taken.steps < target.possible
    assert max(each.steps for each in target.tries if each.drop > target.limit) == target.taken.steps - 1
    before, after = bits(calibration.quantize(model, divided()[0], recipe)), bits(quantized)
    changed = {layer: own for layer, own in after.items() if own != before[layer]}
    assert changed == {layer: (own.w_bits, own.a_bits) for layer, (_, own) in target.raised.items() if own}
    assert all(own[0] > before[layer][0] for layer, own in changed.items())
    assert quantized.quantization is not None
    assert quantized.quantization.recipe["max_drop"] == target.limit
    assert quantized.quantization.calibration["raised"] == {
        layer: "W{}A{}".format(*own) for layer, own in changed.items()
    }


@pytest.mark.parametrize("name", ["fast", "accurate"])
def test_gives_what_quantize_gives_with_the_same_bits(name: str, model: SRModel) -> None:
    recipe = RECIPES[name]()
    quantized, target = within(model, recipe, 0.6)
    own = tuple((layer, after.w_bits) for layer, (_, after) in target.raised.items() if after)
    assert own
    again = calibration.quantize(model, divided()[0], RECIPES[name](layer_bits=own))
    same(quantized, again)


def test_integers_leave_layers_in_full_precision(model: SRModel) -> None:
    recipe = calibration.recipe("int8", a_bits=6, float_share=0.0)
    quantized, target = within(model, recipe, 0.9)
    assert target.reached
    assert target.raised
    assert all(after is None for _, after in target.raised.values())
    everything = bits(calibration.quantize(model, divided()[0], recipe))
    assert bits(quantized) == {layer: own for layer, own in everything.items() if layer not in target.raised}
    skipping = calibration.recipe("int8", a_bits=6, float_share=0.0, skip=tuple(target.raised))
    same(quantized, calibration.quantize(model, divided()[0], skipping))


def test_a_target_that_holds_changes_nothing(model: SRModel) -> None:
    recipe = RECIPES["fast"]()
    quantized, target = calibration.quantize_within(model, *divided(), recipe, 100)
    assert (len(target.tries), target.raised, target.reached) == (1, {}, True)
    same(quantized, calibration.quantize(model, divided()[0], recipe))


@pytest.mark.parametrize("recipe", [RECIPES["fast"](), calibration.recipe("int8", a_bits=8)], ids=["fast", "int8"])
def test_a_target_out_of_reach_gives_the_best_that_was_tried(recipe: Any, model: SRModel) -> None:
    _, target = calibration.quantize_within(model, *divided(), recipe, 0)
    assert not target.reached
    assert target.possible in [each.steps for each in target.tries]
    assert target.taken.drop == min(each.drop for each in target.tries) <= target.before


def test_what_is_named_stays_as_it_is(model: SRModel) -> None:
    named = RECIPES["fast"](layer_bits=(("body.0.body.0", 3), ("body.1.*", 4)), skip=("tail.1",))
    quantized, target = calibration.quantize_within(model, *divided(), named, 0)
    found = bits(quantized)
    assert found["body.0.body.0"] == (3, 3)
    assert found["body.1.body.0"] == (4, 4)
    assert "tail.1" not in found
    assert "body.0.body.2" in target.raised
    assert not {"body.0.body.0", "body.1.body.0"} & target.raised.keys()


def test_what_cannot_be_asked_for(model: SRModel) -> None:
    with pytest.raises(UsageError, match="`max_drop` .* `avg_bits`"):
        calibration.quantize_within(model, *divided(), calibration.recipe("fast", avg_bits=4.0), 0.1)
    with pytest.raises(UsageError, match="`max_drop` goes by bits of layers; the method copying takes no plan"):
        calibration.quantize_within(model, *divided(), Copying(), 0.1)
    with pytest.raises(UsageError, match="`max_drop` is -1; choose 0 to 100 dB"):
        calibration.quantize_within(model, *divided(), RECIPES["fast"](), -1)
