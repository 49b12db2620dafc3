"""Points come back as they were stored, in the smallest form that holds them."""

import pytest
import torch
from torch import Tensor

from dfsq.quantizers.packing import pack
from dfsq.quantizers.points import SUFFIXES, pack_points, stored_bits, unpack_points
from dfsq.quantizers.stored import Stored
from dfsq.quantizers.universal import UniversalSet

UNIVERSAL = UniversalSet()


def drawn(channels: int, k: int, elements: Tensor, repeat: bool = False) -> Tensor:
    rows = [elements[torch.randperm(len(elements))[:k]] for _ in range(channels)]
    points = torch.stack(rows).sort(1).values
    if repeat:
        points[:, 1] = points[:, 0]
    return points


def again(packed: dict[str, Tensor], shape: tuple[int, int], universal: UniversalSet = UNIVERSAL) -> Tensor:
    return unpack_points(Stored(packed, SUFFIXES), shape, universal)


CASES = {
    # Bytes by hand: 8 bits a gap, 9 bits an index, two numbers of 16 bits, or 16 bits a point.
    "gaps": (lambda: drawn(6, 16, UNIVERSAL.numerators), "gaps", 96),
    "a point twice": (lambda: drawn(6, 16, UNIVERSAL.numerators, repeat=True), "gaps", 96),
    "a gap beyond 8 bits": (lambda: UNIVERSAL.numerators[torch.tensor([[0, 1, 300, 301]] * 6)], "points", 27),
    "evenly spaced, 8 bits": (lambda: torch.arange(256) * 8 - torch.tensor([[1020], [1024], [1016]]), "points", 12),
    "evenly spaced, 4 bits": (lambda: torch.arange(16) * torch.tensor([[3], [0], [64]]), "points", 12),
    "numerators": (lambda: drawn(6, 16, torch.arange(-1024, 1025)), "points", 192),
}


@pytest.mark.parametrize("case", CASES)
def test_points_come_back_from_the_smallest_form(case: str) -> None:
    make, name, size = CASES[case]
    points = make()
    packed = pack_points(points, UNIVERSAL)
    assert {name: each.nbytes for name, each in packed.items()} == {name: size}
    assert torch.equal(again(packed, tuple(points.shape)), points)


@pytest.mark.parametrize("bits", [4, 5, 6, 7])
def test_gaps_of_many_channels_take_less_than_indices_and_than_a_bit_for_each_element(bits: int) -> None:
    points = drawn(64, 2**bits, UNIVERSAL.numerators)
    (packed,) = pack_points(points, UNIVERSAL).values()
    assert packed.nbytes < 64 * min(377, 2**bits * 9) / 8
    assert torch.equal(again({"gaps": packed}, (64, 2**bits)), points)


@pytest.mark.parametrize("words", [1, 2, 3, 4, 5])
def test_any_set_and_width(words: int) -> None:
    universal = UniversalSet(words)
    for bits in range(1, 9):
        if 2**bits <= len(universal):
            points = drawn(5, 2**bits, universal.numerators)
            packed = pack_points(points, universal)
            assert torch.equal(again(packed, tuple(points.shape), universal), points)
            (size,) = (each.nbytes for each in packed.values())
            assert size <= pack(torch.searchsorted(universal.numerators, points), universal.index_bits).nbytes


def test_files_of_before_are_read() -> None:
    points = drawn(6, 256, UNIVERSAL.numerators)
    indices = torch.searchsorted(UNIVERSAL.numerators, points)
    assert torch.equal(again({"points": pack(indices, UNIVERSAL.index_bits)}, (6, 256)), points)
    mask = torch.zeros(6, len(UNIVERSAL), dtype=torch.long).scatter_(1, indices, 1)
    assert torch.equal(again({"points": pack(mask, 1)}, (6, 256)), points)
    even = torch.arange(16).repeat(6, 1)
    assert torch.equal(again({"points": even.to(torch.int16)}, (6, 16)), even)


def test_gaps_that_cannot_be_are_refused() -> None:
    gaps = torch.full((16,), 24, dtype=torch.uint8)  # 16 · 24 = 384 of 377
    with pytest.raises(ValueError, match="point index 384, but the universal set has 377"):
        again({"gaps": gaps}, (1, 16))
    with pytest.raises(ValueError, match=r"gaps is torch.uint8 of shape \(17,\)"):
        again({"gaps": torch.zeros(17, dtype=torch.uint8)}, (1, 16))
    with pytest.raises(ValueError, match="points and gaps are both there"):
        again({"gaps": gaps, "points": torch.zeros(1, 16, dtype=torch.int16)}, (1, 16))


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
        again({"points": packed}, (1, 256))


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7])
def test_bytes_are_predicted(bits: int) -> None:
    (packed,) = pack_points(drawn(300, 2**bits, UNIVERSAL.numerators), UNIVERSAL).values()
    assert packed.nbytes * 8 == pytest.approx(300 * stored_bits(bits, UNIVERSAL, evenly=False), rel=0.15)
    even = (torch.arange(2**bits) * 7 - 511).repeat(300, 1)  # not in the set
    assert pack_points(even, UNIVERSAL)["points"].nbytes * 8 == 300 * stored_bits(bits, UNIVERSAL, evenly=True)
