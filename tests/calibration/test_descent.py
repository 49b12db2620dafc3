from itertools import product

import pytest
import torch
from torch import Tensor

from calibration.compensation import DAMPING, compensated
from calibration.descent import Descent, fitted


def drawn(seed: int, outputs: int, inputs: int, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights, levels, and what errors of inputs and outputs weigh."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(40, inputs, generator=generator).double() + torch.randn(40, 1, generator=generator)
    y = torch.randn(30, outputs, generator=generator).double() + torch.randn(30, 1, generator=generator)
    weight = torch.randn(outputs, inputs, generator=generator)
    levels = torch.randn(outputs, k, generator=generator).sort(1).values
    return weight, levels, x.T @ x, y.T @ y


def error(codes: Tensor, weight: Tensor, levels: Tensor, hessian: Tensor, sensitivity: Tensor | None) -> float:
    """tr(S E H Eᵀ), damped, term by term."""
    off = weight.double() - levels.double().gather(1, codes.long())
    if sensitivity is None:
        sensitivity = torch.eye(len(weight)).double() / (1 + DAMPING)
    ridges = [DAMPING * each.diagonal().mean() * torch.eye(len(each)) for each in (sensitivity, hessian)]
    return float(torch.einsum("op,pk,kl,ol->", sensitivity + ridges[0], off, hessian + ridges[1], off))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("sensitive", [True, False])
def test_no_other_level_of_any_single_weight_is_better(seed: int, sensitive: bool) -> None:
    weight, levels, hessian, sensitivity = drawn(seed, 4, 7, 3)
    some = sensitivity if sensitive else None
    start = compensated(weight, levels, hessian, some)
    found = Descent(weight, hessian, some).codes(start, levels)
    least = error(found, weight, levels, hessian, some)
    assert least <= error(start, weight, levels, hessian, some)
    for row, column, code in product(range(4), range(7), range(3)):
        other = found.clone()
        other[row, column] = code
        assert error(other, weight, levels, hessian, some) >= least * (1 - 1e-9)


def test_it_comes_close_to_the_best_of_all() -> None:
    better = 0
    for seed in range(20):
        weight, levels, hessian, sensitivity = drawn(seed, 2, 4, 2)
        start = compensated(weight, levels, hessian, sensitivity)
        found = Descent(weight, hessian, sensitivity).codes(start, levels)
        everything = (torch.tensor(each).view(2, 4) for each in product(range(2), repeat=8))
        best = min(error(each, weight, levels, hessian, sensitivity) for each in everything)
        errors = [error(each, weight, levels, hessian, sensitivity) for each in (start, found)]
        assert best * (1 - 1e-9) <= errors[1] <= errors[0]
        better += errors[1] < errors[0] * (1 - 1e-9)
    assert better > 5


def test_at_two_bits_a_twelfth_of_the_error_goes() -> None:
    weight, _, hessian, sensitivity = drawn(0, 24, 60, 4)
    levels = weight.std(1, keepdim=True) * torch.tensor([-1.5, -0.5, 0.5, 1.5])
    start = compensated(weight, levels, hessian, sensitivity)
    found = Descent(weight, hessian, sensitivity).codes(start, levels)
    before, after = (error(each, weight, levels, hessian, sensitivity) for each in (start, found))
    assert after < 0.95 * before
    assert 0.01 < float((found != start).float().mean()) < 0.4


@pytest.mark.parametrize("points", [torch.zeros(3, 4), torch.tensor([[-1.0, 0, 0, 1]]).repeat(3, 1)])
def test_levels_that_are_there_twice_and_inputs_that_are_never_anything_come_to_an_end(points: Tensor) -> None:
    weight = torch.randn(3, 5)
    for hessian in (torch.zeros(5, 5).double(), torch.eye(5).double()):
        codes = Descent(weight, hessian).codes(torch.zeros(3, 5, dtype=torch.uint8), points)
        assert codes.shape == (3, 5) and codes.dtype == torch.uint8 and int(codes.max()) < 4


@pytest.mark.parametrize("seed", range(4))
def test_levels_are_those_of_least_squares_where_they_may_be_anything(seed: int) -> None:
    weight, levels, hessian, _ = drawn(seed, 1, 9, 3)
    codes = torch.tensor([[0, 1, 2, 0, 1, 2, 0, 1, 2]], dtype=torch.uint8)
    anything = torch.linspace(-4, 4, 80_001)[None]
    found = Descent(weight, hessian).levels(codes, levels, anything)
    damped = hessian + DAMPING * hessian.diagonal().mean() * torch.eye(9)
    root = torch.linalg.cholesky(damped).T
    chosen = torch.eye(3).double()[codes[0].long()]
    best = torch.linalg.lstsq(root @ chosen, (root @ weight[0].double())[:, None]).solution[:, 0]
    if (best.diff() > 0).all():
        torch.testing.assert_close(found[0], best, rtol=0, atol=2e-4)
    else:
        assert torch.equal(found, levels.double())


@pytest.mark.parametrize("seed", range(4))
def test_fitted_levels_are_elements_and_ascend_and_the_error_is_less(seed: int) -> None:
    weight, levels, hessian, sensitivity = drawn(seed, 5, 30, 4)
    elements = torch.linspace(-3, 3, 61).repeat(5, 1)
    levels = elements[:, [10, 25, 35, 50]] if seed % 2 else levels
    codes, found = fitted(weight, levels, elements, hessian, sensitivity)
    plain, same = fitted(weight, levels, None, hessian, sensitivity)
    assert torch.equal(same, levels)
    moved = (found != levels.double()).any(1)
    assert moved.any() and (found.diff() >= 0).all()
    assert torch.isin(found[moved], elements.double()).all()
    assert error(codes, weight, found, hessian, sensitivity) < error(plain, weight, levels, hessian, sensitivity)


def test_levels_that_no_weight_has_stay_in_order() -> None:
    weight, levels, hessian, sensitivity = drawn(0, 3, 8, 5)
    codes = torch.full((3, 8), 2, dtype=torch.uint8)
    elements = torch.linspace(-3, 3, 61).repeat(3, 1)
    found = Descent(weight, hessian, sensitivity).levels(codes, levels, elements)
    assert found.isfinite().all() and (found.diff() >= 0).all()
