import math
import zlib

import pytest
import torch
from torch import Tensor

from dfsq.quantizers.codes import pack_codes, unpack_codes
from dfsq.quantizers.packing import pack, packed_size
from dfsq.quantizers.stored import Stored


def of_bells(bits: int, count: int) -> Tensor:
    """Codes as those of weights are: a bell."""
    middle = 2 ** (bits - 1)
    values = torch.randn(count, generator=torch.Generator().manual_seed(bits)) * middle / 4
    return (values.round() + middle).clamp(0, 2**bits - 1).long()


def read(packed: Tensor, bits: int, shape: tuple[int, ...]) -> Tensor:
    return unpack_codes(Stored({"codes": packed}, ("codes",)), "codes", bits, shape)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("count", [1, 7, 4000, 36_864])
def test_round_trip(bits: int, count: int) -> None:
    flat = torch.randint(0, 2**bits, (count,), generator=torch.Generator().manual_seed(bits))
    for codes in (of_bells(bits, count), flat, torch.zeros_like(flat), torch.full_like(flat, 2**bits - 1)):
        packed = pack_codes(codes, bits)
        assert packed.dtype == torch.uint8 and packed.dim() == 1 and packed.numel() <= packed_size(count, bits)
        assert torch.equal(read(packed, bits, (count,)), codes)


def test_frequent_codes_take_fewer_bits() -> None:
    codes = of_bells(8, 36_864)
    packed = pack_codes(codes, 8)
    assert zlib.decompress(packed.numpy().tobytes()) == codes.to(torch.uint8).numpy().tobytes()
    share = codes.bincount()[codes.unique()] / codes.numel()
    entropy = -(share * share.log2()).sum().item()
    assert 36_864 * entropy / 8 < packed.numel() < 36_864 * (entropy + 0.1) / 8 + 200


def test_codes_that_are_all_alike_lie_end_to_end() -> None:
    codes = torch.randint(0, 16, (4096,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(pack_codes(codes, 4), pack(codes, 4))


def test_a_code_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit into 2 bits"):
        pack_codes(torch.tensor([4]), 2)


def stream(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(zlib.compress(content, 0)), dtype=torch.uint8)


SHORT = 2000
"""Codes of 8 bits, in streams of half as many bytes."""


@pytest.mark.parametrize(
    "packed, message",
    [
        (
            torch.zeros(SHORT + 1, dtype=torch.uint8),
            rf"shape \({SHORT + 1},\); it must be torch.uint8 of shape \({SHORT},",
        ),
        (
            torch.zeros(1000, dtype=torch.uint8),
            f"codes is 1000 bytes; it must be {SHORT}, or a zlib stream, and is none",
        ),
        (stream(bytes(SHORT // 2)), f"or a zlib stream, and is none of {SHORT} codes"),
        (stream(bytes(SHORT // 2))[:-1], f"or a zlib stream, and is none of {SHORT} codes"),
        (
            torch.cat([stream(bytes(SHORT // 2)), torch.zeros(3, dtype=torch.uint8)]),
            f"or a zlib stream, and is none of {SHORT} codes",
        ),
        (torch.zeros(1000, dtype=torch.int8), "codes is torch.int8"),
        (torch.zeros(2, 500, dtype=torch.uint8), r"codes is torch.uint8 of shape \(2, 500\)"),
        (torch.zeros(0, dtype=torch.uint8), r"codes is torch.uint8 of shape \(0,\)"),
    ],
)
def test_what_has_neither_form_is_refused(packed: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(packed, 8, (SHORT,))


def test_codes_beyond_their_bits_are_refused() -> None:
    packed = pack_codes(torch.tensor([0] * 3999 + [200]), 8)
    assert packed.numel() < 1500
    with pytest.raises(ValueError, match="the code 200; of 3 bits it must be below 8"):
        read(packed, 3, (4000,))


@pytest.mark.parametrize("claimed", [10**6, 2**40])
def test_no_memory_is_taken_for_more_codes_than_there_are_bits(claimed: int) -> None:
    bomb = torch.frombuffer(bytearray(zlib.compress(bytes(10**6), 9)), dtype=torch.uint8)
    assert bomb.numel() < 10**6 / 8
    with pytest.raises(ValueError, match="it must be torch.uint8 of shape"):
        read(bomb, 8, (math.isqrt(claimed), math.isqrt(claimed)))
