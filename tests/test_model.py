"""Luminance networks behind the interface of all: RGB or grey in, RGB or grey out, scored on Y."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import calibration
import dfsq
from dfsq.engines.torch import Torch
from dfsq.evaluation import bicubic, samples
from dfsq.evaluation.benchmarks import Benchmark, Pair
from dfsq.evaluation.evaluator import Upscaled
from dfsq.evaluation.upscaling import upscale_image
from dfsq.model import SRModel
from dfsq.networks import from_state
from dfsq.nn import quantized_layers

WEIGHTS = np.array([0.299, 0.587, 0.114])
SATURATED = np.random.default_rng(0).choice([0, 255], (40, 48, 3)).astype(np.uint8)


def luma(image: np.ndarray) -> np.ndarray:
    """Y of RGB in 0–255, in 16–235."""
    return 16 + image @ WEIGHTS * 219 / 255


@pytest.fixture
def nearest() -> SRModel:
    """An ESPCN ×3 of one channel that repeats every pixel: its convolutions copy, its shuffle spreads."""
    state = {
        "conv1.weight": torch.zeros(2, 1, 5, 5),
        "conv2.weight": torch.zeros(2, 2, 3, 3),
        "conv3.weight": torch.zeros(2, 2, 3, 3),
        "conv4.weight": torch.zeros(9, 2, 3, 3),
    }
    for weight in state.values():
        weight[:, 0, weight.shape[2] // 2, weight.shape[3] // 2] = 1
    return from_state({**state, **{key.replace("weight", "bias"): torch.zeros(len(w)) for key, w in state.items()}})


@pytest.fixture
def noisy() -> SRModel:
    """An FSRCNN ×2 of one channel with random weights."""
    from dfsq.networks.fsrcnn import FSRCNN

    torch.manual_seed(3)
    net = FSRCNN(scale=2, features=16, shrunken=8, mappings=2, channels=1)
    net.last_part.weight.data *= 8
    return from_state(net.state_dict(), scale=2)


def test_luma_goes_through_the_network_and_chroma_is_enlarged_bicubically(nearest: SRModel) -> None:
    assert nearest.info.channels == 1
    image = np.random.default_rng(0).random((9, 11, 3))
    with torch.no_grad():
        result = nearest(torch.tensor(image).permute(2, 0, 1)[None].float())[0].permute(1, 2, 0).numpy()
    grey = image @ WEIGHTS
    np.testing.assert_allclose(result @ WEIGHTS, grey.repeat(3, 0).repeat(3, 1), atol=1e-5)
    for colour in (0, 2):
        difference = bicubic.upscale((image[:, :, colour] - grey)[:, :, None], 3)[:, :, 0]
        np.testing.assert_allclose(result[:, :, colour] - result @ WEIGHTS, difference, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_pictures_need_no_colour(nearest: SRModel, noisy: SRModel, dtype: type) -> None:
    grey = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (9, 11, 1), dtype, endpoint=True)
    assert np.array_equal(upscale_image(nearest, grey), grey.repeat(3, 0).repeat(3, 1))
    colour = upscale_image(noisy, grey.repeat(3, 2)).astype(int)
    assert np.abs(upscale_image(noisy, grey) - colour).max() <= 1 + np.iinfo(dtype).max // 10**5


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_strips(noisy: SRModel, channels: int, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (150, 160, channels), np.uint8)
    assert np.array_equal(upscale_image(Torch(noisy).tiled(40, tmp_path), picture), upscale_image(noisy, picture))


@pytest.mark.parametrize("hr", [SATURATED, samples.benchmark(2).pairs[0].read(2)[1][:80, :90]])
def test_scored_on_its_own_output(noisy: SRModel, hr: np.ndarray) -> None:
    seen: list[Upscaled] = []
    (result,) = dfsq.evaluate(noisy, [Benchmark("mine", 2, (Pair("a", hr, None),))], on_image=seen.append)
    with torch.no_grad():
        own: Tensor = noisy.net(torch.tensor(luma(seen[0].lr) / 255)[None, None].float())[0, 0]
    error = (own * 255).clamp(0, 255).round().double().numpy() - luma(hr)
    expected = 10 * math.log10(255**2 / (error[2:-2, 2:-2] ** 2).mean())
    assert result.mean.psnr_y == pytest.approx(expected, abs=1e-3)
    # The picture's colours meet 0 and 255, which its luma does not.
    error = luma(seen[0].result) - luma(hr)
    of_the_picture = 10 * math.log10(255**2 / (error[2:-2, 2:-2] ** 2).mean())
    if hr is SATURATED:
        assert abs(of_the_picture - expected) > 0.1


def test_quantized(noisy: SRModel) -> None:
    patches = calibration.PatchStream(samples.calibration_images(), scale=2, patches=2, patch_size=64)
    model = calibration.quantize(noisy, patches, calibration.recipe("fast", w_bits=4, a_bits=4))
    assert (
        {name for name, _ in quantized_layers(model.net)} >= set(noisy.body) == {f"mid_part.{i}" for i in (0, 2, 4, 6)}
    )
    image = torch.rand(1, 3, 24, 24)
    with torch.no_grad():
        full, quantized = noisy(image), model(image)
    assert 10 * torch.log10(1 / (full - quantized).square().mean()) > 20
    assert not torch.equal(full, quantized)
