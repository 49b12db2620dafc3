"""Trained bounds: gradients against an explicit graph in float64 and against a table, the start, and what is frozen."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from calibration.ddtb import TrainableBounds, TrainableGate
from calibration.ddtb.straight_through import quantize
from dfsq.quantizers import bounds


def straight(x: Tensor) -> Tensor:
    return x + (x.round() - x).detach()


def explicit(x: Tensor, lower: Tensor, upper: Tensor, bits: int) -> Tensor:
    """The published formula, its rounds with derivative 1, written down as it stands."""
    clipped = torch.where(x > upper, upper, torch.where(x < lower, lower, x))
    s = (2**bits - 1) / (upper - lower)
    z = straight(s * lower) + 2 ** (bits - 1)
    return (straight(s * clipped - z) + z) / s


def gradients(function: Callable[..., Tensor], lower: Tensor, upper: Tensor, bits: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(11)
    x = (torch.randn(3, 4, 6, 5, generator=generator, dtype=torch.float64) * 2).requires_grad_()
    weights = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    leaves = (x, lower.clone().requires_grad_(), upper.clone().requires_grad_())
    result = function(*leaves, bits)
    return result, *torch.autograd.grad((result * weights).sum(), leaves)


BOUNDS = [(-1.3, 1.9), (0.0, 2.2), (0.4, 3.0), (-2.6, -0.3), (-0.01, 0.013)]


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("limits", BOUNDS)
def test_values_and_gradients_are_those_of_the_explicit_graph(limits: tuple[float, float], bits: int) -> None:
    lower, upper = torch.tensor(limits, dtype=torch.float64)
    for found, expected in zip(
        gradients(quantize, lower, upper, bits), gradients(explicit, lower, upper, bits), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_bounds_of_every_sample_get_their_own_gradients() -> None:
    lower, upper = torch.tensor([-1.0, 0.2, -3.0, 0.5, 2.5, -0.1], dtype=torch.float64).view(2, 3, 1, 1, 1)
    for found, expected in zip(gradients(quantize, lower, upper, 2), gradients(explicit, lower, upper, 2), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


# Two bits in −1…2: steps of 1. x, x̂, ∂x̂/∂x, ∂x̂/∂u = [x > u] + (x̂ − c) / 3, ∂x̂/∂l = [x < l] − (x̂ − c) / 3.
TABLE = [
    (-5.0, -1.0, 0.0, 0.0, 1.0),
    (-1.0, -1.0, 1.0, 0.0, 0.0),
    (-0.7, -1.0, 1.0, -0.1, 0.1),
    (0.0, 0.0, 1.0, 0.0, 0.0),
    (0.3, 0.0, 1.0, -0.1, 0.1),
    (0.6, 1.0, 1.0, 0.4 / 3, -0.4 / 3),
    (2.0, 2.0, 1.0, 0.0, 0.0),
    (7.0, 2.0, 0.0, 1.0, 0.0),
]
# The same in −0.75…2.25, which rounding shifts to levels −1…2: the clipped ends are rounded as well.
SHIFTED = [
    (-5.0, -1.0, 0.0, -0.25 / 3, 1 + 0.25 / 3),
    (0.25, 0.0, 1.0, -0.25 / 3, 0.25 / 3),
    (2.25, 2.0, 1.0, -0.25 / 3, 0.25 / 3),
    (9.0, 2.0, 0.0, 1 - 0.25 / 3, 0.25 / 3),
]


@pytest.mark.parametrize(
    ("lower", "upper", "row"),
    [*((-1.0, 2.0, row) for row in TABLE), *((-0.75, 2.25, row) for row in SHIFTED)],
)
def test_a_worked_table(lower: float, upper: float, row: tuple[float, ...]) -> None:
    x, *expected = row
    leaves = [torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in (x, lower, upper)]
    result = quantize(*leaves, 2)
    by_x, by_lower, by_upper = torch.autograd.grad(result, leaves)
    assert [result.item(), by_x.item(), by_upper.item(), by_lower.item()] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("limits", [*BOUNDS, (1.0, 1.0), (2.0, -1.0), (-0.5, 2.5)])
def test_forward_is_that_of_inference_to_the_bit(limits: tuple[float, float]) -> None:
    x = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(1)) * 2
    lower, upper = torch.tensor(limits)
    assert torch.equal(quantize(x, lower, upper, 3), bounds.quantize(x, lower, upper, 3))


@pytest.mark.parametrize("limits", [(1.0, 1.0), (2.0, -1.0)])
def test_bounds_out_of_order_have_gradients_that_are_numbers(limits: tuple[float, float]) -> None:
    lower, upper = (torch.tensor(each, requires_grad=True) for each in limits)
    x = torch.linspace(-3, 3, 20, requires_grad=True)
    quantize(x, lower, upper, 2).sum().backward()
    for leaf in (x, lower, upper):
        assert leaf.grad is not None and leaf.grad.isfinite().all()
    assert upper.grad > 0


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("percent", [95.0, 99.0, 100.0])
def test_starts_from_percentiles_of_the_first_batch(bits: int, percent: float) -> None:
    x, other = torch.randn(2, 4, 3, 17, 13, generator=torch.Generator().manual_seed(9)) ** 3
    quantizer = TrainableBounds(bits, percent)
    quantizer(x)
    quantizer(other)
    found = [quantizer.lower.item(), quantizer.upper.item()]
    assert found == pytest.approx(np.percentile(x.double().numpy(), [100 - percent, percent]), rel=1e-6)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_trained_on_fixed_samples_they_come_as_close_as_a_grid_search(bits: int) -> None:
    x = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(bits)) + 0.3
    quantizer = TrainableBounds(bits, 99.0)
    quantizer(x)
    optimizer = torch.optim.Adam(quantizer.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
    for _ in range(600):
        optimizer.zero_grad()
        (quantizer(x) - x).square().mean().backward()
        optimizer.step()
        schedule.step()
    found = (quantizer.frozen()(x) - x).square().mean()
    lows, highs = torch.linspace(x.amin().item(), 0, 60), torch.linspace(0.05, x.amax().item(), 60)
    lower, upper = torch.cartesian_prod(lows, highs).T[..., None, None, None, None]
    errors = [(bounds.quantize(x, low, high, bits) - x).square().mean() for low, high in zip(lower, upper, strict=True)]
    assert found <= 1.02 * min(errors)


def test_evaluation_before_any_training_is_refused() -> None:
    with pytest.raises(RuntimeError, match="not seen a batch"):
        TrainableBounds(2, 99.0).eval()(torch.rand(1, 3, 4, 4))


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0])
def test_a_constant_batch_gives_bounds_that_can_be_stored(value: float) -> None:
    quantizer = TrainableBounds(2, 99.0)
    x = torch.full((2, 3, 4, 4), value)
    torch.testing.assert_close(quantizer(x), x)
    torch.testing.assert_close(quantizer.frozen()(x), x)


def test_a_state_goes_on_where_it_was() -> None:
    quantizer, other = TrainableBounds(2, 99.0), TrainableBounds(2, 99.0)
    x = torch.randn(2, 3, 8, 8)
    expected = quantizer(x)
    other.load_state_dict(quantizer.state_dict())
    assert torch.equal(other(x), expected)
    assert torch.equal(other(5 * x), quantizer(5 * x))


def test_bounds_that_an_optimizer_crosses_are_put_right() -> None:
    quantizer = TrainableBounds(2, 99.0)
    x = torch.randn(2, 3, 8, 8)
    quantizer(x)
    with torch.no_grad():
        quantizer.upper.sub_(100)
    frozen = quantizer.frozen()
    assert frozen.upper > frozen.lower
    assert torch.equal(quantizer(x), frozen(x))


def test_frozen_with_and_without_its_gate() -> None:
    gate = TrainableGate(4, torch.Generator().manual_seed(0))
    quantizer = TrainableBounds(3, 99.0, gate)
    x = torch.randn(6, 4, 9, 9, generator=torch.Generator().manual_seed(2)) + 1
    for _ in range(20):
        quantizer(x)
    quantizer.eval()
    torch.testing.assert_close(quantizer.frozen()(x), quantizer(x).detach(), rtol=1e-6, atol=1e-6)
    with_gate = quantizer(x)
    quantizer.gated = False
    assert quantizer.frozen().gate is None
    assert torch.equal(quantizer.frozen()(x), quantizer(x))
    assert not torch.equal(with_gate, quantizer(x))
