import pytest
import torch
from torch import Tensor

from dfsq.quantizers.packing import pack
from dfsq.quantizers.shares import SUFFIXES, pack_shares, unpack_shares
from dfsq.quantizers.stored import Stored


def read(tensors: dict[str, Tensor], channels: int) -> Tensor:
    return unpack_shares(Stored(tensors, SUFFIXES), channels)


def random(channels: int) -> Tensor:
    return torch.randn(channels, channels, generator=torch.Generator().manual_seed(channels)).tril(-1)


def test_worked_by_hand() -> None:
    shares = torch.tensor([[0, 0, 0], [0.3, 0, 0], [-0.9, 400, 0]])
    # Steps next to 0.26·1, 0.26·2 and so on: exponents -2, -1 of rows 1 and 2, and 0, 1 of columns 0 and 1.
    tensors = pack_shares(shares, torch.tensor([[1, 0.26, 0.5], [1.0, 2.1, 1]]))
    assert tensors["scales"].tolist() == [[0, -2, -1], [0, 1, 0]]
    assert tensors["shares"].tolist() == [128 + 1, 128 - 2, 255]  # the last is limited to 127 steps of 2^(-1 + 1)
    assert read(tensors, 3).tolist() == [[0, 0, 0], [0.25, 0, 0], [-1, 127, 0]]


@pytest.mark.parametrize("channels", [1, 2, 5, 64, 300])
def test_they_are_rounded_to_half_a_step(channels: int) -> None:
    steps = 2 ** torch.randint(-6, 0, (2, channels), generator=torch.Generator().manual_seed(1)).float()
    shares = random(channels)
    tensors = pack_shares(shares + torch.ones_like(shares).triu(), steps)
    found = read(tensors, channels)
    step = steps[0, :, None] * steps[1]
    inside = shares.abs() < 120 * step
    assert ((found - shares).abs() <= step / 2)[inside].all()
    assert (found.triu() == 0).all()
    again = pack_shares(found, steps)
    assert all(torch.equal(each, tensors[name]) for name, each in again.items())


def test_steps_as_small_and_large_as_they_may_be_give_finite_shares() -> None:
    for size in (1e-38, 1e38):
        tensors = pack_shares(random(9) * 1e30, torch.full((2, 9), size))
        assert read(tensors, 9).isfinite().all()


def test_those_of_files_of_before_are_read_as_they_were() -> None:
    # Sixteen levels of the largest of a row, 4 bits each: -32, -24 … -1, 1 … 24, 32 of 32.
    tensors = {"shares": pack(torch.tensor([15, 7, 12]), 4), "largest": torch.tensor([0, 0.5, 2]).bfloat16()}
    assert read(tensors, 3).tolist() == [[0, 0, 0], [0.5, 0, 0], [-2 / 32, 2 * 13 / 32, 0]]
    # In bfloat16, columns first.
    tensors = {"shares": torch.tensor([0.5, -2, 0.25]).bfloat16()}
    assert read(tensors, 3).tolist() == [[0, 0, 0], [0.5, 0, 0], [-2, 0.25, 0]]


@pytest.mark.parametrize(
    "name, wrong, message",
    [
        ("shares", torch.zeros(7, dtype=torch.uint8), r"shares is torch.uint8 of shape \(7,\)"),
        ("shares", torch.zeros(6).bfloat16(), "shares is torch.bfloat16"),
        ("scales", torch.zeros(2, 5, dtype=torch.int8), r"scales is torch.int8 of shape \(2, 5\)"),
        ("scales", torch.full((2, 4), 61, dtype=torch.int8), "scales has a value of 61; it must be at most 60"),
        ("scales", torch.zeros(2, 4), "scales is torch.float32"),
        ("largest", torch.ones(4).bfloat16(), "largest and scales are both there"),
    ],
)
def test_stored_tensors_that_do_not_fit_are_refused(name: str, wrong: Tensor, message: str) -> None:
    tensors = pack_shares(random(4), torch.ones(2, 4))
    with pytest.raises(ValueError, match=message):
        read({**tensors, name: wrong}, 4)


@pytest.mark.parametrize(
    "largest, message",
    [(torch.inf, "largest has values that are not finite"), (-1, "largest has a value of -1")],
)
def test_units_of_files_of_before_that_cannot_be_are_refused(largest: float, message: str) -> None:
    tensors = {"shares": pack(torch.zeros(6), 4), "largest": torch.full((4,), largest).bfloat16()}
    with pytest.raises(ValueError, match=message):
        read(tensors, 4)
