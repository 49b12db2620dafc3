"""The recipe int8 as a whole, on small networks."""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

import dfsq
from calibration import quantize, recipe
from calibration.extremes import vivid
from calibration.floats import without_costliest
from calibration.layers import LayerBits
from calibration.watching import watch
from dfsq import networks
from dfsq.model import SRModel
from dfsq.networks.imdn import IMDN
from dfsq.nn import AffineQuantizer, quantized_layers

IMAGES = (torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(5)) * 255).round() / 255
INT8 = recipe("int8", float_share=0.0)


def test_every_layer_becomes_integers_and_the_output_stays(small_model: SRModel, tmp_path: Path) -> None:
    model = quantize(small_model, [IMAGES], INT8)
    layers = dict(quantized_layers(model.net))
    assert layers.keys() == {
        name
        for name, layer in small_model.net.named_modules()
        if isinstance(layer, torch.nn.Conv2d) and layer.in_channels + layer.out_channels > 6  # not the mean shifts
    }
    for layer in layers.values():
        assert isinstance(layer.input_quantizer, AffineQuantizer)
        assert (layer.quantized_weight.zero_point == 64).all()
    other = (torch.rand(1, 3, 31, 18) * 255).round() / 255
    with torch.inference_mode():
        before, after = small_model(other), model(other)
    noise = (after - before).square().mean() / before.var()
    assert noise < 10**-3
    dfsq.save(model, tmp_path / "a.safetensors")
    with torch.inference_mode():
        assert torch.equal(dfsq.load(tmp_path / "a.safetensors")(other), after)


def test_pooled_maps_stay_in_full_precision_and_images_exact() -> None:
    model = networks.from_state(IMDN(2, 2, 8, 2, 2).state_dict())
    layers = dict(quantized_layers(quantize(model, [IMAGES], INT8).net))
    pooled = [name for name in layers if "conv_du" in name]
    assert len(pooled) == 4
    assert all((layer.input_quantizer is None) == (name in pooled) for name, layer in layers.items())
    first = layers["fea_conv"].input_quantizer
    assert isinstance(first, AffineQuantizer)
    torch.testing.assert_close(first(IMAGES), IMAGES, rtol=1e-6, atol=0)


def test_a_share_of_the_work_stays_in_full_precision(small_model: SRModel) -> None:
    model = quantize(small_model, [IMAGES], recipe("int8", float_share=0.3, a_bits=4))
    names = {name for name, _ in quantized_layers(model.net)}
    everything = {
        name
        for name, _ in quantized_layers(quantize(small_model, [IMAGES], recipe("int8", float_share=0.0, a_bits=4)).net)
    }
    assert names < everything


def test_layers_are_left_out_by_error_for_cost() -> None:
    plan = {name: LayerBits(8, 8) for name in "abcde"}
    costs = {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0, "e": 10.0}
    errors = {"a": 4.0, "b": 6.0, "c": 1.0, "d": 0.0, "e": 100.0}
    kept = without_costliest(plan, errors, costs, 0.4)  # e is too dear, b and a take 7 of 8, d has no error
    assert kept.keys() == {"c", "d", "e"}
    assert without_costliest(plan, errors, costs, 1.0).keys() == {"d"}


def test_no_layer_is_left_out_where_little_is_gained() -> None:
    plan = {name: LayerBits(8, 8) for name in "abc"}
    errors = {"a": 3e-5, "b": 1.5e-6, "c": 0.5e-6}  # without a, 57 dB
    assert without_costliest(plan, errors, dict.fromkeys("abc", 1.0), 1.0).keys() == {"b", "c"}


def test_ranges_hold_colours_that_no_image_has(small_model: SRModel) -> None:
    grey = IMAGES.mean(1, keepdim=True).expand_as(IMAGES) * 0.2 + 0.4
    cut_off = {}
    for name in ("int8", "minmax"):
        quantized = quantize(small_model, [grey], recipe(name, a_bits=8, compensation=False))
        given: dict[str, Tensor] = {}
        looks = {layer: partial(given.__setitem__, layer) for layer, _ in quantized_layers(quantized.net)}
        watch(small_model, [vivid(grey[:1])], looks)
        cut_off[name] = []
        for layer_name, layer in quantized_layers(quantized.net):
            x, quantizer = given[layer_name], layer.input_quantizer
            assert isinstance(quantizer, AffineQuantizer)
            steps = quantizer.steps.view(1, -1, 1, 1)
            codes = x / steps + quantizer.zero_point
            cut_off[name].append(bool(codes.amin() < -0.51 or codes.amax() > 255.51))
    assert not any(cut_off["int8"])
    assert any(cut_off["minmax"])


def test_vivid_pictures_are_stretched_and_far_from_grey() -> None:
    image = torch.tensor([[0.4, 0.5], [0.4, 0.4], [0.5, 0.4]]).view(1, 3, 1, 2)
    # Stretched: red 0 1, green 0 0, blue 1 0; greys of 1/3; three times as far from these, cut off.
    expected = torch.tensor([[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]).view(1, 3, 1, 2)
    torch.testing.assert_close(vivid(image), expected)
    torch.testing.assert_close(vivid(torch.full((1, 3, 2, 2), 0.3)), torch.zeros(1, 3, 2, 2))
