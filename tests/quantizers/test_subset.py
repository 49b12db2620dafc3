import pytest
import torch

from dfsq.nn import SubsetQuantizer
from dfsq.quantizers.normalization import EPSILON, bin_index
from dfsq.quantizers.subset import code_table, nearest
from dfsq.quantizers.universal import UniversalSet

UNIVERSAL = UniversalSet()


def random_points(channels: int, k: int, seed: int = 0, universal: UniversalSet = UNIVERSAL) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randperm(len(universal), generator=generator)[:k].sort()[0] for _ in range(channels)]
    return universal.numerators[torch.stack(rows)]


@pytest.mark.parametrize("words", [2, 3, 4])
@pytest.mark.parametrize("k", [4, 16])
def test_table_finds_the_nearest_point(words: int, k: int) -> None:
    universal = UniversalSet(words)
    points = random_points(8, k, universal=universal)
    x = torch.rand(8, 20_000, generator=torch.Generator().manual_seed(1)) * 2 - 1
    found = code_table(points, universal).long().gather(1, bin_index(x, None, torch.ones(()), universal.bins).long())
    scaled = x.double() * universal.denominator
    distance = (scaled[:, :, None] - points[:, None, :]).abs()
    assert torch.allclose(distance.gather(2, found[:, :, None])[:, :, 0], distance.amin(2), atol=1e-3)
    assert torch.equal(found, nearest(scaled, points)) or words == 3  # thirds are not exact in floating point


def test_table_worked_by_hand() -> None:
    # Points -1, 0, 1/2 and 1: midpoints -1/2, 1/4 and 3/4.
    points = torch.tensor([[-1024, 0, 512, 1024]])
    x = torch.tensor([[-1.0, -0.51, -0.5, -0.49, 0.0, 0.24, 0.25, 0.74, 0.75, 1.0]])
    index = bin_index(x, None, torch.ones(()), UNIVERSAL.bins)
    assert code_table(points, UNIVERSAL)[0, index.long()[0]].tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("shape, axis", [((2, 6, 7, 5), 1), ((2, 11, 6), -1), ((2, 3, 4, 6), -1)])
def test_quantizer_follows_the_papers_equations(signed: bool, shape: tuple[int, ...], axis: int) -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(shape, generator=generator) * 5 + 2
    x = x if signed else x.relu()
    points = random_points(6, 16)
    result = SubsetQuantizer(points, signed, 4, UNIVERSAL, axis)(x)

    values = points.double() / 1024
    expected = torch.empty(shape).movedim(axis, 1)
    for n, sample in enumerate(x.movedim(axis, 1)):
        for c, channel in enumerate(sample):
            mean = channel.mean() if signed else torch.zeros(())
            spread = (channel - mean).abs().max() + EPSILON
            normalized = ((channel - mean) / spread).double()
            choice = (normalized[..., None] - values[c]).abs().argmin(-1)
            expected[n, c] = values[c][choice].float() * spread + mean
    assert torch.allclose(result, expected.movedim(1, axis), atol=1e-5)


def test_constant_and_zero_channels_stay_what_they_are() -> None:
    x = torch.stack([torch.zeros(4, 4), torch.full((4, 4), 3.0)])[None]
    result = SubsetQuantizer(random_points(2, 16), True, 4, UNIVERSAL, 1)(x)
    assert torch.allclose(result, x, atol=1e-6)


def test_quantizer_keeps_channels_last() -> None:
    x = torch.randn(1, 6, 8, 8).contiguous(memory_format=torch.channels_last)
    result = SubsetQuantizer(random_points(6, 4), True, 2, UNIVERSAL, 1)(x)
    assert result.is_contiguous(memory_format=torch.channels_last)
