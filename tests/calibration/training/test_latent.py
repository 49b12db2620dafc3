"""What is trained is what is stored: layers before and after they are frozen."""

import pytest
import torch
from torch import Tensor, nn

from calibration.static import StaticObserver
from calibration.training.latent import LatentLayer
from calibration.training.points import TrainedPoints
from calibration.training.weights import SubsetLatent, UniformLatent, latent_of
from calibration.weights import quantize_weight
from dfsq.nn import SubsetQuantizer, channel_axis
from dfsq.quantizers.universal import UniversalSet

UNIVERSAL = UniversalSet()
LAYERS = {
    "3x3": lambda: (nn.Conv2d(6, 5, 3, padding=1), torch.randn(2, 6, 12, 12)),
    "1x1 without bias": lambda: (nn.Conv2d(6, 5, 1, bias=False), torch.randn(2, 6, 12, 12)),
    "grouped": lambda: (nn.Conv2d(6, 4, 3, groups=2, stride=2), torch.randn(2, 6, 12, 12)),
    "reflecting": lambda: (nn.Conv2d(6, 4, 3, padding=1, padding_mode="reflect"), torch.randn(2, 6, 12, 12)),
    "linear": lambda: (nn.Linear(6, 5), torch.randn(2, 7, 6)),
}


def trained_points(x: Tensor, axis: int, bits: int) -> TrainedPoints:
    observer = StaticObserver(axis)
    observer.observe(x)
    quantizer = observer.quantizer(bits, UNIVERSAL)
    assert quantizer.fixed is not None
    shift, spread = quantizer.fixed
    levels = UNIVERSAL.values(quantizer.points) * spread[:, None] + shift[:, None]
    return TrainedPoints(levels, x.movedim(axis, -1).flatten(0, -2).std(0), bits, axis)


def disturb(module: nn.Module) -> None:
    """As if training had moved every parameter, points out of order among them."""
    with torch.no_grad():
        for each in module.parameters():
            each.add_(torch.randn_like(each) * 0.2)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("method", ["subset", "minmax"])
@pytest.mark.parametrize("bits", [2, 4])
def test_a_frozen_layer_does_what_the_trained_one_did(kind: str, method: str, bits: int) -> None:
    layer, x = LAYERS[kind]()
    axis = channel_axis(layer)
    weight = latent_of(quantize_weight(layer.weight, method, bits, UNIVERSAL), layer.weight)
    unit = None if layer.bias is None else torch.rand_like(layer.bias) + 0.5
    trained = LatentLayer(layer, weight, trained_points(x, axis, bits), layer.bias, unit)
    disturb(trained)
    frozen = trained.frozen()
    # Points are stored to 1/2048 of their range, and values near a midpoint may go to its other side.
    error, rounding = ((other(x) - trained(x)).square().mean() for other in (frozen, layer))
    assert error < 0.01 * rounding
    stored = frozen.input_quantizer
    assert isinstance(stored, SubsetQuantizer)
    assert torch.equal(frozen.quantized_weight.dequantize(), frozen.weight)
    assert all(len(channel.unique()) <= 2**bits for channel in stored(x).movedim(axis, 0).flatten(1))


def test_a_latent_weight_starts_as_the_weight_was_rounded() -> None:
    original = torch.randn(5, 6, 3, 3)
    for bits in (2, 3, 8):
        rounded = quantize_weight(original, "subset", bits, UNIVERSAL)
        latent = latent_of(rounded, original)
        assert isinstance(latent, SubsetLatent)
        torch.testing.assert_close(latent(), rounded.dequantize())
        assert torch.equal(latent.frozen().codes, rounded.codes)
        grid = quantize_weight(original, "mse", bits, UNIVERSAL)
        latent = latent_of(grid, original)
        assert isinstance(latent, UniformLatent)
        torch.testing.assert_close(latent(), grid.dequantize())


@pytest.mark.parametrize("method", ["subset", "minmax"])
def test_weights_of_zeros_are_no_obstacle(method: str) -> None:
    original = torch.zeros(3, 2, 3, 3)
    latent = latent_of(quantize_weight(original, method, 2, UNIVERSAL), original)
    assert latent().isfinite().all()
    assert not latent.frozen().dequantize().any()


def test_all_parameters_get_gradients() -> None:
    layer, x = LAYERS["3x3"]()
    weight = latent_of(quantize_weight(layer.weight, "subset", 2, UNIVERSAL), layer.weight)
    trained = LatentLayer(layer, weight, trained_points(x, 1, 2), layer.bias)
    trained(x).square().sum().backward()
    assert all(each.grad is not None and each.grad.any() for each in trained.parameters())
    assert {name for name, _ in trained.named_parameters()} == {
        "bias",
        "weight.latent",
        "weight.points",
        "inputs.points",
    }


def test_products_in_half_precision_leave_the_rest_in_float32() -> None:
    layer, x = LAYERS["3x3"]()
    weight = latent_of(quantize_weight(layer.weight, "subset", 2, UNIVERSAL), layer.weight)
    trained = LatentLayer(layer, weight, trained_points(x, 1, 2), layer.bias)
    exact = trained(x)
    trained.precision = torch.bfloat16
    rough = trained(x)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.05
    rough.sum().backward()
    assert all(each.grad is not None and each.grad.dtype == torch.float32 for each in trained.parameters())
