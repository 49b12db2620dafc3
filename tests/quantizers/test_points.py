"""Points come back as they were stored, in the smallest form that holds them."""

import pytest
import torch
from torch import Tensor

from dfsq.quantizers.packing import pack
from dfsq.quantizers.points import pack_points, unpack_points
from dfsq.quantizers.stored import Stored
from dfsq.quantizers.universal import UniversalSet

UNIVERSAL = UniversalSet()


def drawn(channels: int, k: int, elements: Tensor, repeat: bool = False) -> Tensor:
    rows = [elements[torch.randperm(len(elements))[:k]] for _ in range(channels)]
    points = torch.stack(rows).sort(1).values
    if repeat:
        points[:, 1] = points[:, 0]
    return points


def again(packed: Tensor, shape: tuple[int, int], universal: UniversalSet = UNIVERSAL) -> Tensor:
    return unpack_points(Stored({"points": packed}, ("points",)), shape, universal)


CASES = {
    # Bytes by hand: 9 bits an index, 377 bits a mask, two numbers of 16 bits, or 16 bits a point.
    "indices of 2 bits": (lambda: drawn(6, 4, UNIVERSAL.numerators), 27),
    "indices of 5 bits": (lambda: drawn(6, 32, UNIVERSAL.numerators), 216),
    "a mask of 6 bits": (lambda: drawn(6, 64, UNIVERSAL.numerators), 283),
    "a mask of 8 bits": (lambda: drawn(6, 256, UNIVERSAL.numerators), 283),
    "a point twice": (lambda: drawn(6, 64, UNIVERSAL.numerators, repeat=True), 432),
    "evenly spaced, 8 bits": (lambda: torch.arange(256) * 8 - torch.tensor([[1020], [1024], [1016]]), 12),
    "evenly spaced, 4 bits": (lambda: torch.arange(16) * torch.tensor([[3], [0], [64]]), 12),
    "numerators": (lambda: drawn(6, 16, torch.arange(-1024, 1025)), 192),
}


@pytest.mark.parametrize("name", CASES)
def test_points_come_back_from_the_smallest_form(name: str) -> None:
    make, size = CASES[name]
    points = make()
    packed = pack_points(points, UNIVERSAL)
    assert packed.nbytes == size
    assert torch.equal(again(packed, tuple(points.shape)), points)


@pytest.mark.parametrize("words", [1, 2, 3, 4, 5])
def test_any_set_and_width(words: int) -> None:
    universal = UniversalSet(words)
    for bits in range(1, 9):
        if 2**bits <= len(universal):
            points = drawn(5, 2**bits, universal.numerators)
            packed = pack_points(points, universal)
            assert torch.equal(again(packed, tuple(points.shape), universal), points)
            assert packed.nbytes <= pack(torch.searchsorted(universal.numerators, points), universal.index_bits).nbytes


def test_files_of_before_are_read() -> None:
    points = drawn(6, 256, UNIVERSAL.numerators)
    indices = pack(torch.searchsorted(UNIVERSAL.numerators, points), UNIVERSAL.index_bits)
    assert torch.equal(again(indices, (6, 256)), points)
    even = torch.arange(16).repeat(6, 1)
    assert torch.equal(again(even.to(torch.int16), (6, 16)), even)


@pytest.mark.parametrize(
    "packed, message",
    [
        (torch.tensor([[1000, 8]], dtype=torch.int16), "reach to 3040; the most is 1024"),
        (torch.tensor([[-32768, 32767]], dtype=torch.int16), "the most is 1024"),
        (torch.tensor([[1000, -1]], dtype=torch.int16), "must ascend"),
        (torch.full((48,), 255, dtype=torch.uint8), "a channel has 377 points; it must have 256"),
        (torch.zeros(48, dtype=torch.uint8), "a channel has 0 points; it must have 256"),
        (torch.full((288,), 255, dtype=torch.uint8), "point index 511, but the universal set has 377"),
        (torch.zeros(47, dtype=torch.uint8), r"must be torch.uint8 of shape \(288,\)"),
        (torch.zeros(1, 3, dtype=torch.int16), r"must be torch.int16 of shape \(1, 256\)"),
    ],
)
def test_what_cannot_be_is_refused(packed: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        again(packed, (1, 256))
