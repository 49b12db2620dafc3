import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calibration.observer import TensorObserver
from calibration.ranges import ChannelRanges, equalized, fixed_range
from calibration.recipes.values import RANGES
from dfsq.nn import AffineQuantizer
from dfsq.quantizers.universal import UniversalSet


def random_maps(seed: int, channels: int = 6) -> Tensor:
    """Maps whose channels reach differently far, one of them nowhere and one only above zero."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(2, channels, 9, 8, generator=generator) * torch.logspace(-2, 1, channels).view(-1, 1, 1)
    maps[:, 0] = 0
    maps[:, 1].abs_()
    return maps


def seen(maps: Tensor, axis: int = 1) -> ChannelRanges:
    observer = ChannelRanges(axis)
    for each in torch.split(maps, 1):
        observer.observe(each)
    return observer


def tensor_seen(maps: Tensor) -> TensorObserver:
    observer = TensorObserver(UniversalSet())
    observer.observe(maps)
    return observer


def quantizers(maps: Tensor, bits: int) -> list[AffineQuantizer]:
    fixed = [fixed_range(name, tensor_seen(maps), bits, 1) for name in ("minmax", "percentile", "mse")]
    return [*fixed, equalized(seen(maps), bits, None, 1.0, 1)]


@pytest.mark.parametrize("bits", range(2, 9))
def test_zero_is_exact(bits: int) -> None:
    for seed, sign in itertools.product(range(5), (1, -1)):
        for quantizer in quantizers(sign * random_maps(seed).abs() if seed % 2 else random_maps(seed), bits):
            assert not quantizer(torch.zeros(1, 6, 3, 3)).any()
            assert 0 <= int(quantizer.zero_point) < 2**bits


def test_what_was_seen_is_at_most_half_a_step_off() -> None:
    maps = random_maps(7)
    quantizer = equalized(seen(maps), 8, None, 1.0, 1)
    error = (quantizer(maps) - quantizer.rescaled(maps)).abs()
    assert error.max() <= 0.501 * quantizer.scale
    assert (quantizer(100 * maps).amax((0, 2, 3)) <= 255 * quantizer.scale).all()


def test_headroom_reaches_beyond_what_was_seen() -> None:
    maps = random_maps(8)
    quantizer = equalized(seen(maps), 8, None, 1.5, 1)
    error = (quantizer(1.5 * maps) - quantizer.rescaled(1.5 * maps)).abs()
    assert error.max() <= 0.501 * quantizer.scale


def test_the_zero_point_has_the_least_sum_of_squared_steps() -> None:
    maps = random_maps(9)
    weights = torch.rand(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = maps.amin((0, 2, 3)).clamp(max=0).tolist(), maps.amax((0, 2, 3)).clamp(min=0).tolist()
    costs = {}
    for zero_point in range(1, 15):
        steps = [max(h / (15 - zero_point), -l / zero_point) for l, h in zip(low, high, strict=True)]  # noqa: E741
        costs[zero_point] = sum(weight * step**2 for weight, step in zip(weights.tolist(), steps, strict=True))
    assert int(equalized(seen(maps), 4, weights, None, 1).zero_point) == min(costs, key=costs.__getitem__)


@pytest.mark.parametrize("reach", [1.0, 255.0])
def test_an_image_of_eight_bits_is_kept_as_it_is(reach: float) -> None:
    image = torch.arange(256.0).expand(1, 3, -1).reshape(1, 3, 16, 16) / 255 * reach
    quantizer = equalized(seen(image), 8, None, 1.3, 1)
    torch.testing.assert_close(quantizer(image), image, rtol=1e-6, atol=0)
    assert quantizer.factors is None


def test_percentile_and_mse_are_narrower_than_minmax_on_heavy_tails() -> None:
    torch.manual_seed(0)
    maps = torch.distributions.Laplace(0, 1).sample((1, 4, 100, 100))
    steps = {name: float(fixed_range(name, tensor_seen(maps), 4, 1).scale) for name in RANGES}
    assert steps["percentile"] < steps["minmax"]
    assert steps["mse"] < steps["minmax"]


@pytest.mark.parametrize("groups", [1, 2])
def test_equalization_leaves_a_convolution_as_it_is(groups: int) -> None:
    torch.manual_seed(1)
    maps = random_maps(10)
    conv = nn.Conv2d(6, 4, 3, padding=1, groups=groups)
    quantizer = equalized(seen(maps), 8, None, 1.0, 1)
    found = F.conv2d(
        quantizer.rescaled(maps), quantizer.adapted(conv.weight, groups), conv.bias, padding=1, groups=groups
    )
    torch.testing.assert_close(found, conv(maps), rtol=1e-5, atol=1e-5)


def test_equalization_leaves_a_linear_layer_as_it_is() -> None:
    torch.manual_seed(2)
    rows, linear = random_maps(11).movedim(1, -1), nn.Linear(6, 4)
    quantizer = equalized(seen(rows, -1), 8, None, 1.0, -1)
    found = F.linear(quantizer.rescaled(rows), quantizer.adapted(linear.weight), linear.bias)
    torch.testing.assert_close(found, linear(rows), rtol=1e-5, atol=1e-5)
