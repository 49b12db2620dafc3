"""What an analysis says of layers, against what comes of exchanging them by hand."""

import copy
import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

import calibration
import dfsq
from calibration import PatchStream
from calibration.analysis import analyze
from calibration.analysis.parts import Exchange, quantized_parts
from calibration.analysis.sections import to_json
from calibration.analysis.units import in_units_of, is_folded
from calibration.recipes.files import shipped
from dfsq import networks
from dfsq.errors import UsageError
from dfsq.evaluation.benchmarks import Benchmark, Pair
from dfsq.evaluation.samples import calibration_images
from dfsq.model import SRModel
from dfsq.networks.swinir import SwinIR
from dfsq.nn import quantized_layers
from dfsq.runtime import compiled_quantizers

SHORT = {"trained": {"steps": 3, "crop_size": 16}, "ddtb": {"steps": 3, "crop_size": 16, "batch": 2}}
FOLDED = {"target": "onnxruntime"}


def photos() -> list[np.ndarray]:
    return [np.ascontiguousarray(image[top : top + 72]) for image in calibration_images() for top in (0, 72, 144)]


def stream() -> PatchStream:
    return PatchStream(photos(), scale=2, patches=4, patch_size=48)


def held_out(side: int = 64) -> Benchmark:
    pairs = (Pair(f"photo {n}", image[230 : 230 + side, :side], None) for n, image in enumerate(calibration_images()))
    return Benchmark("aside", 2, tuple(pairs))


def quantized(model: SRModel, name: str = "fast", **changes: object) -> SRModel:
    return calibration.quantize(model, stream(), calibration.recipe(name, **{**SHORT.get(name, {}), **changes}))


def scores(model: SRModel) -> float:
    with compiled_quantizers("cpu"):
        return dfsq.evaluate(model, [held_out()])[0].mean.psnr_y


def output_error(model: SRModel, other: SRModel) -> float:
    errors = []
    for pair in held_out().pairs:
        lr = torch.from_numpy(pair.read(2)[0].astype(np.float32)).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            errors.append(float((model(lr) - other(lr)).square().mean()))
    return sum(errors) / len(errors)


@pytest.fixture
def busy_model(plausible_model: SRModel) -> SRModel:
    """The plausible model with a body whose work is seen in the picture."""
    with torch.no_grad():
        for layer in plausible_model.net.body.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.mul_(20)
    return plausible_model


@pytest.mark.parametrize("name", ["fast", "accurate"])
def test_every_figure_of_a_layer_is_what_exchanging_it_by_hand_gives(plausible_model: SRModel, name: str) -> None:
    small = quantized(plausible_model, name, w_bits=2, a_bits=2)
    found = analyze(plausible_model, small, held_out())
    assert found.full == pytest.approx(scores(plausible_model))
    assert found.quantized == pytest.approx(scores(small))
    assert found.error == pytest.approx(output_error(small, plausible_model))
    assert {each.name for each in found.layers} == {name for name, _ in quantized_layers(small.net)}
    for each in found.layers:
        alone, rest = copy.deepcopy(plausible_model), copy.deepcopy(small)
        alone.net.set_submodule(each.name, copy.deepcopy(small.net.get_submodule(each.name)))
        rest.net.set_submodule(each.name, copy.deepcopy(plausible_model.net.get_submodule(each.name)))
        assert each.error == pytest.approx(output_error(alone, plausible_model))
        assert each.removed == pytest.approx(found.error - output_error(rest, plausible_model), abs=1e-12)
        assert each.alone == pytest.approx(found.full - scores(alone), abs=1e-4)
        assert each.recovered == pytest.approx(scores(rest) - found.quantized, abs=1e-4)


def test_the_layer_whose_error_counts_most_comes_first(busy_model: SRModel) -> None:
    bits = (("body.*", 8), ("body.1.body.2", 2))
    found = analyze(busy_model, quantized(busy_model, layer_bits=bits, outside_bits=None), held_out())
    assert found.layers[0].name == "body.1.body.2"
    assert (found.layers[0].w_bits, found.layers[0].a_bits) == (2, 2)
    removed = [each.removed for each in found.layers]
    assert removed == sorted(removed, reverse=True)


@pytest.mark.parametrize("name", [*shipped(), "folded"])
def test_with_all_parts_exchanged_a_network_is_what_it_was(plausible_model: SRModel, name: str) -> None:
    changes = {**SHORT.get(name, {}), **(FOLDED if name == "folded" else {})}
    recipe = calibration.recipe("int8" if name == "folded" else name, **changes)
    assert is_folded(recipe.to_dict()) == (name == "folded")
    small = calibration.quantize(plausible_model, stream(), recipe)
    full = in_units_of(recipe, plausible_model, stream())
    parts = quantized_parts(small)
    lifted = Exchange(small, {each: full.net.get_submodule(each) for each in parts})
    lowered = Exchange(full, parts)
    with lifted.of(parts) as model:
        rest = output_error(model, plausible_model)
        assert rest < 1e-12 or name == "ddtb"  # which trains what it does not quantize, too
    with lowered.of(parts) as model:
        assert output_error(model, small) < 1e-12 or name == "ddtb"
    assert output_error(lifted.model, small) == output_error(lowered.model, full) == 0  # and back again
    found = analyze(full, small, held_out())
    assert found.rest == pytest.approx(rest, abs=1e-12)
    assert len(found.layers) == len(parts)
    for each in found.layers:
        figures = [each.error, each.removed, each.alone, each.recovered, each.low, each.high, each.spread]
        assert all(map(math.isfinite, figures))
        assert (each.w_bits is None) == (each.weight_sqnr is None) == (not each.shape)


def test_errors_are_predicted(busy_model: SRModel) -> None:
    # Some squares of two small pictures: within a factor of two, where errors of layers differ a thousandfold.
    bits = {f"body.{block}.body.{layer}": 3 + 2 * block + layer // 2 for block in (0, 1) for layer in (0, 2)}
    small = quantized(busy_model, scope="all", layer_bits=tuple(bits.items()))
    found = analyze(busy_model, small, held_out())
    assert max(each.error for each in found.layers) > 1000 * min(each.error for each in found.layers)
    for each in found.layers:
        assert each.predicted is not None
        assert each.error / 2 < each.predicted < 2 * each.error
    assert found.agreement is not None
    assert found.agreement > 0.9


def test_what_takes_no_gradients_has_no_predictions(plausible_model: SRModel) -> None:
    small = quantized(plausible_model)
    for model in (plausible_model, small):
        model.net.body[0].forward = torch.no_grad()(model.net.body[0].forward)
        model.net.sub_mean.forward = torch.no_grad()(model.net.sub_mean.forward)
        model.net.add_mean.forward = torch.no_grad()(model.net.add_mean.forward)
    found = analyze(plausible_model, small, held_out())
    assert all(each.predicted is None for each in found.layers)
    assert found.agreement is None


def test_signals(plausible_model: SRModel) -> None:
    coarse, fine = (
        {each.name: each for each in analyze(plausible_model, quantized(plausible_model, **bits), held_out()).layers}
        for bits in ({"w_bits": 2, "a_bits": 2}, {"w_bits": 8, "a_bits": 8})
    )
    for name, each in coarse.items():
        if each.a_bits is None:
            assert each.input_sqnr is None
            continue
        other = fine[name]
        assert other.weight_sqnr > each.weight_sqnr + 20  # six decibels a bit
        assert other.input_sqnr > each.input_sqnr + 20
        assert (each.low, each.high, each.spread) == (other.low, other.high, other.spread)
    behind_relu = coarse["body.0.body.2"]
    assert behind_relu.low == 0 < behind_relu.high
    assert behind_relu.kind == "Conv2d"
    assert behind_relu.shape == (8, 8, 3, 3)
    assert behind_relu.parameters == 8 * 8 * 9 + 8


def test_operands_of_attention_are_parts_too() -> None:
    net = SwinIR(2, 12, (1,), (2,), window=4, hidden=24, upsampler="pixelshuffledirect")
    model = networks.from_state(net.state_dict())
    found = analyze(model, quantized(model), held_out())
    operands = [each for each in found.layers if each.kind == "Operand"]
    assert len(operands) == 4
    assert all(each.w_bits is None and each.a_bits == 4 and each.error > 0 for each in operands)


def test_pictures_of_one_colour_have_a_document_too(plausible_model: SRModel) -> None:
    black = Benchmark("black", 2, (Pair("black", np.zeros((64, 64, 3), np.uint8), None),))
    found = analyze(plausible_model, quantized(plausible_model), black)
    document = json.loads(to_json(found, {}))
    assert len(document["layers"]) == len(found.layers)
    assert found.agreement is None or -1 <= found.agreement <= 1


def test_models_that_do_not_belong_together_are_refused(
    plausible_model: SRModel, small_model: SRModel, with_bounds: Callable[[SRModel, bool], SRModel]
) -> None:
    small = quantized(plausible_model)
    with pytest.raises(UsageError, match="in full precision; quantize it first"):
        analyze(plausible_model, plausible_model, held_out())
    with pytest.raises(UsageError, match="the reference is quantized"):
        analyze(small, small, held_out())
    with pytest.raises(UsageError, match=r"it has no body\.0"):
        analyze(dfsq.load("edsr-baseline-x2"), small, held_out())
