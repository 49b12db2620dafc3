"""Rounding between two bounds, against the listed levels."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from dfsq.quantizers.bounds import MOST, levels, quantize

CASES = {
    "about zero": (-1.3, 2.1),
    "symmetric": (-1.0, 1.0),
    "from zero": (0.0, 3.0),
    "positive": (2.25, 7.5),
    "negative": (-9.0, -0.5),
    "most of it positive": (-0.1, 4.0),
    "nearly equal": (1.0, 1.0 + 2.0**-23),
    "far from zero and close": (1000.0, 1000.001),
    "tiny": (-1e-20, 3e-20),
    "huge": (-MOST, MOST),
}


def listed(lower: float, upper: float, bits: int) -> list[Fraction]:
    """The levels in exact arithmetic: multiples of the step from that nearest to ``lower``, halves to even."""
    step = (Fraction(upper) - Fraction(lower)) / (2**bits - 1)
    return [step * (round(Fraction(lower) / step) + index) for index in range(2**bits)]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("name", CASES)
def test_the_levels_are_multiples_of_the_step(name: str, bits: int) -> None:
    lower, upper = torch.tensor(CASES[name], dtype=torch.float64)
    expected = [float(each) for each in listed(float(lower), float(upper), bits)]
    torch.testing.assert_close(levels(lower, upper, bits).tolist(), expected, rtol=1e-9, atol=0)
    if lower <= 0 <= upper:
        assert 0 in levels(lower, upper, bits)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("name", CASES)
def test_values_go_to_the_nearest_level(name: str, bits: int) -> None:
    lower, upper = torch.tensor(CASES[name])
    reach = (upper - lower).item()
    x = torch.linspace(lower.item() - reach, upper.item() + reach, 4001)
    found = quantize(x, lower, upper, bits)
    listing = levels(lower, upper, bits)
    assert torch.isin(found, listing).all()
    assert len(found.unique()) <= 2**bits
    assert (found.diff() >= 0).all()
    # Nearest of the listed ones by brute force, to the rounding of float32.
    distances = (x.clamp(lower, upper).double()[:, None] - listing.double()).abs()
    slack = 1e-5 * reach + 4e-7 * max(abs(lower.item()), abs(upper.item()))
    assert ((x.clamp(lower, upper).double() - found.double()).abs() <= distances.amin(1) + slack).all()


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_halves_at_the_lower_bound_make_no_level_too_many(bits: int) -> None:
    for numerator in range(-2 * 2**bits - 1, 2 * 2**bits, 2):
        lower = torch.tensor(numerator / 2)  # steps of 1
        x = torch.arange(-400, 401) / 8 + lower
        found = quantize(x, lower, lower + 2**bits - 1, bits).unique()
        expected = [float(round(Fraction(numerator, 2)) + index) for index in range(2**bits)]
        # A lower bound that is rounded up leaves the last level without values, one rounded down has one half too many.
        assert found.tolist() in (expected, expected[:-1])


def test_a_worked_table() -> None:
    # Two bits in −0.5…2.5: a step of 1, −0.5 is rounded to 0. Halves go to even codes.
    x = torch.tensor([-9.0, -0.5, 0.49, 0.5, 0.51, 1.5, 2.5, 9.0])
    assert quantize(x, torch.tensor(-0.5), torch.tensor(2.5), 2).tolist() == [0, 0, 0, 0, 1, 2, 2, 2]


@pytest.mark.parametrize("bounds", [(1.5, 1.5), (2.0, -1.0), (0.0, 0.0), (-3.0, -3.0 - 1e-6), (0.0, 1e-35)])
def test_bounds_with_nothing_between_them_leave_one_level(bounds: tuple[float, float]) -> None:
    lower, upper = torch.tensor(bounds)
    x = torch.linspace(-5, 5, 101)
    assert (quantize(x, lower, upper, 3) == upper).all()
    assert (levels(lower, upper, 3) == upper).all()


def test_bounds_of_every_sample_are_its_own() -> None:
    x = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(2)) * 3
    lower, upper = torch.tensor([-1.0, 0.5, 2.0, -4.0]), torch.tensor([1.0, 3.5, 1.0, -3.5])
    found = quantize(x, lower.view(-1, 1, 1, 1), upper.view(-1, 1, 1, 1), 2)
    for index in range(4):
        assert torch.equal(found[index], quantize(x[index], lower[index], upper[index], 2))
    np.testing.assert_array_equal(
        levels(lower, upper, 2).numpy(),
        np.stack([levels(a, b, 2).numpy() for a, b in zip(lower, upper, strict=True)], 1),
    )
