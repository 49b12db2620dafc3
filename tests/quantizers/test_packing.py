import pytest
import torch

from dfsq.quantizers.packing import pack, packed_size, unpack


def test_three_bits_worked_by_hand() -> None:
    # 5 = 101, 2 = 010, 7 = 111, least significant bit first: 101 010 11|1 -> 0b11010101, 0b1
    assert pack(torch.tensor([5, 2, 7]), 3).tolist() == [0b11010101, 0b1]


@pytest.mark.parametrize("bits", range(1, 17))
def test_round_trip(bits: int) -> None:
    codes = torch.randint(0, 2**bits, (5, 7, 3), generator=torch.Generator().manual_seed(bits))
    packed = pack(codes, bits)
    assert packed.numel() == packed_size(codes.numel(), bits) == -(-codes.numel() * bits // 8)
    assert torch.equal(unpack(packed, bits, (5, 7, 3)), codes)


def test_more_codes_than_are_unpacked_together() -> None:
    codes = torch.randint(0, 8, (70_001, 2), generator=torch.Generator().manual_seed(0))
    assert torch.equal(unpack(pack(codes, 3), 3, (70_001, 2)), codes)


def test_a_shape_beyond_what_integers_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="0 bytes for 18446744073709551616 codes"):
        unpack(torch.zeros(0, dtype=torch.uint8), 4, (2**32, 2**32))


def test_a_code_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit into 2 bits"):
        pack(torch.tensor([4]), 2)


def test_a_wrong_number_of_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="2 bytes"):
        unpack(torch.zeros(2, dtype=torch.uint8), 4, (8,))
