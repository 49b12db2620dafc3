import subprocess
import sys
from itertools import combinations

import pytest
import torch

from calibration.selection import even, exact, exhaustive, kmeans, select
from calibration.selection.histogram import selection_error
from dfsq.errors import UsageError
from dfsq.quantizers.universal import UniversalSet

SMALL = UniversalSet(2)
PAPER = UniversalSet()


def random_histogram(universal: UniversalSet, channels: int = 6, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 100, (channels, universal.bins), generator=generator)
    histogram = counts * (torch.rand(channels, universal.bins, generator=generator) < 0.3)
    histogram[0, : universal.bins // 2] = 0  # a non-negative channel
    histogram[1] = 0  # a channel that was never used
    histogram[2] = 0
    histogram[2, universal.bins // 2] = 5  # a constant channel
    return histogram


def normal_histogram(channels: int) -> torch.Tensor:
    values = torch.randn(channels, 20_000, generator=torch.Generator().manual_seed(5))
    values /= values.abs().amax(1, keepdim=True)
    return torch.stack([torch.histc(row, PAPER.bins, -1, 1) for row in values]).long()


def test_error_matches_a_loop_over_values() -> None:
    histogram = random_histogram(SMALL)
    points = torch.tensor([-32, -3, 10, 20]).expand(6, 4)
    errors = selection_error(histogram, points, SMALL)
    for channel in range(6):
        expected = 0.0
        for b in range(SMALL.bins):
            center = (b + 0.5) / SMALL.bins * 2 - 1
            count = int(histogram[channel, b])
            expected += count * min((center - n / 32) ** 2 for n in points[channel].tolist())
        assert float(errors[channel]) / (4 * 32) ** 2 == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_exact_equals_brute_force(k: int, seed: int) -> None:
    histogram = random_histogram(SMALL, seed=seed)
    found = exact.select(histogram, SMALL, k)
    assert bool((found.diff(dim=1) > 0).all())
    least = torch.full((6,), torch.inf, dtype=torch.float64)
    for subset in combinations(SMALL.numerators.tolist(), k):
        least = torch.minimum(least, selection_error(histogram, torch.tensor(subset).expand(6, k), SMALL))
    assert torch.equal(selection_error(histogram, found, SMALL), least)


@pytest.mark.parametrize("k", [128, 256])
def test_evenly_spaced_points_come_close_to_the_best_of_all_grids(k: int) -> None:
    values = torch.randn(3, 20_000, generator=torch.Generator().manual_seed(k)) * 0.3
    values[0] = values[0].abs()
    values[1] = values[1] * 0.5 + 0.2
    histogram = torch.stack([torch.histc(row.clamp(-0.999, 0.999), PAPER.bins, -1, 1) for row in values]).long()
    least = torch.full((3,), torch.inf, dtype=torch.float64)
    for step in range(1, 2048 // (k - 1) + 1):
        for first in range(-1024, 1024 - (k - 1) * step + 1, 16):
            grid = (first + step * torch.arange(k)).expand(3, k)
            least = torch.minimum(least, selection_error(histogram, grid, PAPER))
    points = even.select(histogram, PAPER, k)
    assert (points.diff(dim=1) == points.diff(dim=1)[:, :1]).all()
    assert points.abs().amax() <= 1024
    assert points[0, 0] == 0
    errors = selection_error(histogram, points, PAPER)
    assert (errors < 1.1 * least).all()
    torch.testing.assert_close(even.least_error(histogram, PAPER, k), errors / 20_000 / 4096**2)


def test_where_points_are_many_even_ones_do_better_than_selected_ones() -> None:
    histogram = normal_histogram(8)
    errors = {
        (name, bits): selection_error(histogram, select(name, histogram, PAPER, bits, restarts=1, seed=0), PAPER).sum()
        for name in ("even", "exact")
        for bits in (7, 8)
    }
    assert errors["even", 8] < 0.9 * errors["exact", 8]
    assert errors["even", 7] > errors["exact", 7]


def test_evenly_spaced_points_of_odd_channels() -> None:
    histogram = random_histogram(PAPER)
    for k in (4, 64, 256):
        points = even.select(histogram, PAPER, k)
        assert points.shape == (6, k) and points.abs().max() <= 1024
        assert selection_error(histogram, points, PAPER).isfinite().all()
    histogram[:] = 1  # all there is
    points = even.select(histogram, PAPER, 256)
    assert points[0, 0] == -1020 and points[0, -1] == 1020


def test_exhaustive_equals_exact() -> None:
    histogram = random_histogram(SMALL)
    errors = [selection_error(histogram, method.select(histogram, SMALL, 4), SMALL) for method in (exact, exhaustive)]
    assert torch.equal(*errors)


def test_exhaustive_refuses_with_the_count() -> None:
    with pytest.raises(UsageError, match=r"8\.28e\+08 subsets"):
        exhaustive.select(random_histogram(PAPER), PAPER, 4)


@pytest.mark.parametrize("bits", [2, 3, 4, 5])
def test_exact_is_never_worse_than_kmeans(bits: int) -> None:
    histogram = normal_histogram(8)
    best = selection_error(histogram, exact.select(histogram, PAPER, 2**bits), PAPER)
    rival = selection_error(histogram, kmeans.select(histogram, PAPER, 2**bits, restarts=2), PAPER)
    assert bool((best <= rival).all())
    assert bool((rival <= 1.5 * best).all())  # and K-means is a serious rival


def test_kmeans_pins_zero_and_is_deterministic_for_a_seed() -> None:
    histogram = random_histogram(PAPER)
    first, again = (kmeans.select(histogram, PAPER, 8, restarts=3, seed=7) for _ in range(2))
    assert torch.equal(first, again)
    assert bool((first == 0).any(1).all())
    assert bool((first.diff(dim=1) > 0).all())
    assert not torch.equal(first, kmeans.select(histogram, PAPER, 8, restarts=3, seed=8))


def test_more_restarts_never_hurt() -> None:
    histogram = normal_histogram(4)
    errors = [
        selection_error(histogram[:1], kmeans.select(histogram[:1], PAPER, 16, restarts=restarts, seed=1), PAPER)
        for restarts in (1, 2, 5)
    ]
    assert errors[0] >= errors[1] >= errors[2]


def test_eight_bits_of_a_non_negative_channel_take_all_its_elements() -> None:
    histogram = torch.ones(2, PAPER.bins, dtype=torch.int64)
    histogram[:, : PAPER.bins // 2] = 0
    points = exact.select(histogram, PAPER, 256)
    assert set(PAPER.numerators[PAPER.numerators >= 0].tolist()) <= set(points[0].tolist())


def test_too_many_bits_for_the_universal_set() -> None:
    with pytest.raises(UsageError, match="29"):
        select("exact", random_histogram(SMALL), SMALL, 5, restarts=1, seed=0)


def test_nothing_but_kmeans_imports_scikit_learn() -> None:
    # Which takes a second.
    script = """
import sys, torch
from calibration import quantize, recipe
from dfsq import networks
from dfsq.networks.imdn import IMDN
model, image = networks.from_state(IMDN(2, 2, 8, 2, 2).state_dict()), torch.rand(1, 3, 24, 24)
quantize(model, [image], recipe("accurate"))
assert "sklearn" not in sys.modules
quantize(model, [image], recipe("paper"))
assert "sklearn" in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
