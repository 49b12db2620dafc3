"""The recipe int8 as a whole, on small networks."""

from pathlib import Path

import torch

import dfsq
from calibration import quantize, recipe
from calibration.floats import without_costliest
from calibration.layers import LayerBits
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
    model = quantize(small_model, [IMAGES], recipe("int8", float_share=0.1))
    names = {name for name, _ in quantized_layers(model.net)}
    everything = {name for name, _ in quantized_layers(quantize(small_model, [IMAGES], INT8).net)}
    assert names < everything


def test_layers_are_left_out_by_error_for_cost() -> None:
    plan = {name: LayerBits(8, 8) for name in "abcde"}
    costs = {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0, "e": 10.0}
    errors = {"a": 4.0, "b": 6.0, "c": 1.0, "d": 0.0, "e": 100.0}
    kept = without_costliest(plan, errors, costs, 0.4)  # e is too dear, b and a take 7 of 8, d has no error
    assert kept.keys() == {"c", "d", "e"}
    assert without_costliest(plan, errors, costs, 1.0).keys() == {"d"}
