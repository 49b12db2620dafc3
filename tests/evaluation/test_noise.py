"""What is seen inside a quantized network, against the layers run by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

from calibration import quantize, recipe
from dfsq.evaluation.noise import signals
from dfsq.model import SRModel
from dfsq.nn import quantized_layers

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
IMAGES = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def quantized(plausible_model: SRModel) -> SRModel:
    return quantize(plausible_model, [IMAGES], recipe("fast", w_bits=3, a_bits=3, outside_bits=None))


def passing(model: SRModel, name: str, pixels: np.ndarray = PIXELS) -> tuple[torch.Tensor, torch.Tensor]:
    """What the layer ``name`` is given, and what it returns."""
    found = []
    hook = model.net.get_submodule(name).register_forward_hook(lambda _, given, made: found.append((given[0], made)))
    with torch.inference_mode():
        model(torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None])
    hook.remove()
    return found[0]


def test_noise_is_what_full_precision_does_not_explain(plausible_model: SRModel, quantized: SRModel) -> None:
    found = signals(plausible_model, quantized, PIXELS, "x")
    assert found is not None
    assert list(found.noise) == [name for name, _ in quantized_layers(quantized.net)]
    for name, noise in found.noise.items():
        exact, rounded = (
            passing(model, name)[1][0].flatten(1).double().numpy() for model in (plausible_model, quantized)
        )
        unexplained = [1 - np.corrcoef(x, y)[0, 1] ** 2 for x, y in zip(exact, rounded, strict=True)]
        assert noise == pytest.approx(np.average(unexplained, weights=exact.var(1)), rel=1e-5)
        assert 1e-6 < noise < 0.5


def test_factors_and_shifts_of_channels_are_no_noise(plausible_model: SRModel, quantized: SRModel) -> None:
    usual = signals(plausible_model, quantized, PIXELS, "x")
    name, layer = next(quantized_layers(quantized.net))
    layer.register_forward_hook(
        lambda _, given, made: made * torch.linspace(0.5, 3, made.shape[1]).view(1, -1, 1, 1) + 7
    )
    other = signals(plausible_model, quantized, PIXELS, "x")
    assert usual is not None and other is not None
    assert other.noise[name] == pytest.approx(usual.noise[name], rel=1e-4)


def test_inputs_are_those_of_the_channel_that_is_rounded_most_coarsely(
    plausible_model: SRModel, quantized: SRModel
) -> None:
    found = signals(plausible_model, quantized, PIXELS, "x")
    assert found is not None and found.inputs
    for name, inputs in found.inputs.items():
        quantizer = quantized.net.get_submodule(name).input_quantizer
        given = passing(quantized, name)[0]
        errors = (quantizer(given) - given)[0].flatten(1).square().sum(1)
        assert inputs.channel == int(errors.argmax())
        channel = quantizer.normalized(given)[0, inputs.channel].numpy().ravel()
        shown, levels = inputs.histogram, quantizer.levels()[inputs.channel].tolist()
        assert list(shown.counts) == np.histogram(channel, shown.edges)[0].tolist()
        assert sum(shown.counts) == PIXELS.shape[0] * PIXELS.shape[1]
        assert set(shown.points) == set(levels)
        assert sum(shown.levels) == len(levels)
        assert inputs.bits == 3


def test_the_middle_of_large_images_is_looked_at(plausible_model: SRModel, quantized: SRModel) -> None:
    large = np.random.default_rng(1).integers(0, 256, (200, 301, 3), dtype=np.uint8)
    large[68:132, 118:182] = np.kron(PIXELS[:32, :32], np.ones((2, 2, 1), np.uint8))
    whole = signals(plausible_model, quantized, large, "x")
    middle = signals(plausible_model, quantized, np.ascontiguousarray(large[68:132, 118:182]), "x")
    assert whole == middle


@pytest.mark.parametrize("gates", [False, True])
def test_places_and_bounds_do_not_stand_in_the_way(
    plausible_model: SRModel, with_bounds: Callable[[SRModel, bool], SRModel], gates: bool
) -> None:
    full = copy.deepcopy(plausible_model)
    found = signals(full, with_bounds(plausible_model, gates), PIXELS, "x")
    assert found is not None
    assert all(0 <= noise <= 1 for noise in found.noise.values())
    assert all(inputs.channel is None for inputs in found.inputs.values())


def test_layers_that_the_image_does_not_reach_have_no_noise(plausible_model: SRModel, quantized: SRModel) -> None:
    usual = signals(plausible_model, quantized, PIXELS, "x")
    name, layer = next(quantized_layers(quantized.net))
    plausible_model.net.unused = copy.deepcopy(plausible_model.net.get_submodule(name))
    quantized.net.unused = copy.deepcopy(layer)
    assert "unused" in dict(quantized_layers(quantized.net))
    assert signals(plausible_model, quantized, PIXELS, "x") == usual


def test_models_that_do_not_belong_together_have_no_noise(small_model: SRModel, quantized: SRModel) -> None:
    other = copy.deepcopy(small_model)
    other.net.body = torch.nn.Sequential()
    assert signals(small_model, small_model, PIXELS, "x") is None
    assert signals(other, quantized, PIXELS, "x") is None


def test_models_are_left_as_they_were(plausible_model: SRModel, quantized: SRModel) -> None:
    before = [model(IMAGES) for model in (plausible_model, quantized)]
    signals(plausible_model, quantized, PIXELS, "x")
    for model, output in zip((plausible_model, quantized), before, strict=True):
        assert torch.equal(model(IMAGES), output)
        assert not any(module._forward_hooks for module in model.net.modules())
