"""What is trained is what is stored: layers before and after they are frozen."""

import pytest
import torch
from torch import Tensor, nn

from calibration.compensation import triangle
from calibration.observer import HistogramObserver
from calibration.selection import select
from calibration.static import StaticObserver
from calibration.training.latent import LatentLayer
from calibration.training.points import TrainedPoints, trained_points
from calibration.training.weights import SubsetLatent, UniformLatent, latent_of
from calibration.weights import quantize_weight
from dfsq.nn import ErrorFeedback, SubsetQuantizer, channel_axis
from dfsq.quantizers.universal import UniversalSet

UNIVERSAL = UniversalSet()
LAYERS = {
    "3x3": lambda: (nn.Conv2d(6, 5, 3, padding=1), torch.randn(2, 6, 24, 24)),
    "1x1 without bias": lambda: (nn.Conv2d(6, 5, 1, bias=False), torch.randn(2, 6, 24, 24)),
    "grouped": lambda: (nn.Conv2d(6, 4, 3, groups=2, stride=2), torch.randn(2, 6, 24, 24)),
    "reflecting": lambda: (nn.Conv2d(6, 4, 3, padding=1, padding_mode="reflect"), torch.randn(2, 6, 24, 24)),
    "linear": lambda: (nn.Linear(6, 5), torch.randn(2, 7, 6)),
}


def quantizer_for(ranges: str, x: Tensor, axis: int, bits: int, feedback: bool = False) -> SubsetQuantizer:
    """Selected points for ``x``, in ``fixed`` ranges, in those of every ``sample``, or of its ``blocks``."""
    errors = None
    if feedback:
        mixing = torch.randn(x.shape[axis], 40).double()
        errors = ErrorFeedback(*triangle(mixing @ mixing.T))
    if ranges == "fixed":
        static = StaticObserver(axis)
        static.observe(x)
        return static.quantizer(bits, UNIVERSAL, lambda _: errors)
    block = 16 if ranges == "blocks" and axis == 1 else None
    observer = HistogramObserver(UNIVERSAL, axis, block)
    observer.observe(x)
    points = select("exact", observer.histogram(), UNIVERSAL, bits, restarts=1, seed=0)
    limit = 0.9 * observer.spread()
    reach = 0.5 * observer.reach() if block else None
    return SubsetQuantizer(points, observer.signed, bits, UNIVERSAL, axis, limit, errors, block=block, reach=reach)


def points_for(x: Tensor, axis: int, bits: int, ranges: str = "fixed") -> TrainedPoints:
    return trained_points(quantizer_for(ranges, x, axis, bits), x.movedim(axis, -1).flatten(0, -2).std(0))


def disturb(module: nn.Module) -> None:
    """As if training had moved every parameter, points out of order among them."""
    with torch.no_grad():
        for each in module.parameters():
            each.add_(torch.randn_like(each) * 0.2)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("method", ["subset", "minmax"])
@pytest.mark.parametrize("ranges", ["fixed", "sample", "blocks"])
@pytest.mark.parametrize("bits", [2, 4])
def test_a_frozen_layer_does_what_the_trained_one_did(kind: str, method: str, ranges: str, bits: int) -> None:
    layer, x = LAYERS[kind]()
    axis = channel_axis(layer)
    weight = latent_of(quantize_weight(layer.weight, method, bits, UNIVERSAL))
    unit = None if layer.bias is None else torch.rand_like(layer.bias) + 0.5
    trained = LatentLayer(layer, weight, points_for(x, axis, bits, ranges), layer.bias, unit)
    disturb(trained)
    frozen = trained.frozen()
    # Points are stored to 1/2048 of their range, and values near a midpoint may go to its other side.
    error, rounding = ((other(x) - trained(x)).square().mean() for other in (frozen, layer))
    assert error < 0.01 * rounding
    stored = frozen.input_quantizer
    assert isinstance(stored, SubsetQuantizer)
    assert torch.equal(frozen.quantized_weight.dequantize(), frozen.weight)
    alike = {"fixed": [x], "sample": x.split(1), "blocks": x.split(1)}[ranges]
    if ranges == "blocks" and axis == 1:
        alike = [each[..., :16, :16] for each in alike]
    for part in alike:
        assert all(len(channel.unique()) <= 2**bits for channel in stored(part).movedim(axis, 0).flatten(1))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("ranges", ["fixed", "sample", "blocks"])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("feedback", [False, True])
def test_points_start_as_they_were_selected(kind: str, ranges: str, positive: bool, feedback: bool) -> None:
    layer, x = LAYERS[kind]()
    x = x.abs() if positive else x
    axis = channel_axis(layer)
    quantizer = quantizer_for(ranges, x, axis, 3, feedback)
    trained = trained_points(quantizer, torch.rand(x.shape[axis]) + 0.5)
    # Sums in another order may take a value to the other side of a midpoint, and what is handed on from it too.
    same = ((quantizer(x) - trained(x)).abs() < 1e-4).float().mean()
    assert same > (0.98 if feedback else 0.999)


def test_a_latent_weight_starts_as_the_weight_was_rounded() -> None:
    original = torch.randn(5, 6, 3, 3)
    for bits in (2, 3, 8):
        rounded = quantize_weight(original, "subset", bits, UNIVERSAL)
        latent = latent_of(rounded)
        assert isinstance(latent, SubsetLatent)
        torch.testing.assert_close(latent(), rounded.dequantize())
        assert torch.equal(latent.frozen().codes, rounded.codes)
        grid = quantize_weight(original, "mse", bits, UNIVERSAL)
        latent = latent_of(grid)
        assert isinstance(latent, UniformLatent)
        torch.testing.assert_close(latent(), grid.dequantize())


@pytest.mark.parametrize("method", ["subset", "minmax"])
def test_weights_of_zeros_are_no_obstacle(method: str) -> None:
    original = torch.zeros(3, 2, 3, 3)
    latent = latent_of(quantize_weight(original, method, 2, UNIVERSAL))
    assert latent().isfinite().all()
    assert not latent.frozen().dequantize().any()


def test_all_parameters_get_gradients() -> None:
    layer, x = LAYERS["3x3"]()
    weight = latent_of(quantize_weight(layer.weight, "subset", 2, UNIVERSAL))
    trained = LatentLayer(layer, weight, points_for(x, 1, 2), layer.bias)
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
    weight = latent_of(quantize_weight(layer.weight, "subset", 2, UNIVERSAL))
    trained = LatentLayer(layer, weight, points_for(x, 1, 2), layer.bias)
    exact = trained(x)
    trained.precision = torch.bfloat16
    rough = trained(x)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.05
    rough.sum().backward()
    assert all(each.grad is not None and each.grad.dtype == torch.float32 for each in trained.parameters())
