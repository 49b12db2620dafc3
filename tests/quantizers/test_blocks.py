"""Maps in blocks: what is cut comes back, and every block is quantized as if there were nothing else."""

import numpy as np
import pytest
import torch
from torch import Tensor

from calibration.compensation import triangle
from dfsq.export.subset import TracedSubset
from dfsq.nn import ErrorFeedback, SubsetQuantizer
from dfsq.quantizers import native
from dfsq.quantizers.blocks import cut, joined
from dfsq.quantizers.universal import UniversalSet

UNIVERSAL = UniversalSet()
SIZES = [(8, 8), (16, 24), (9, 17), (3, 5), (1, 1), (1, 20)]


def test_a_worked_example() -> None:
    x = torch.arange(6.0).view(1, 2, 3, 1)  # 0 1 2 over 3 4 5
    blocks = cut(x, 2)
    assert blocks[..., 0].tolist() == [[0, 1, 3, 4], [2, 2, 5, 5]]
    assert torch.equal(joined(blocks, x.shape, 2), x)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_cut_comes_back(size: tuple[int, int]) -> None:
    x = torch.randn(2, *size, 3)
    assert torch.equal(joined(cut(x, 8), x.shape, 8), x)


def quantizer(
    bits: int, signed: bool, feedback: bool, limit: float | None, block: int | None, reach: float | None = None
) -> SubsetQuantizer:
    torch.manual_seed(bits)
    channels = 5
    points = torch.arange(-512, 512, 4).expand(channels, -1)
    if bits < 8:
        numerators = UNIVERSAL.numerators
        points = torch.stack([numerators[torch.randperm(len(numerators))[: 2**bits].sort().values] for _ in range(5)])
    mixing = torch.randn(channels, channels, dtype=torch.float64)
    errors = ErrorFeedback(*triangle(mixing @ mixing.T)) if feedback else None
    limits, reaches = (None if each is None else torch.full((channels,), each) for each in (limit, reach))
    return SubsetQuantizer(points, signed, bits, UNIVERSAL, 1, limits, errors, block=block, reach=reaches)


def block_by_block(x: Tensor, plain: SubsetQuantizer, side: int) -> Tensor:
    """Every block by itself, as a map of its own, filled up by numpy."""
    result = torch.empty_like(x)
    for top in range(0, x.shape[2], side):
        for left in range(0, x.shape[3], side):
            part = x[:, :, top : top + side, left : left + side]
            height, width = part.shape[2:]
            full = np.pad(part.numpy(), ((0, 0), (0, 0), (0, side - height), (0, side - width)), "edge")
            result[:, :, top : top + side, left : left + side] = plain(torch.from_numpy(full))[..., :height, :width]
    return result


@pytest.fixture(params=["C", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(native, "library", None)
    if request.param == "C":
        try:
            native.build()
        except RuntimeError as error:
            pytest.skip(str(error))
    return str(request.param)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(
    "signed, feedback, limit, reach", [(True, True, 0.8, 0.75), (False, False, None, 0.5), (True, False, 0.5, None)]
)
def test_every_block_is_quantized_by_itself(
    way: str, size: tuple[int, int], bits: int, signed: bool, feedback: bool, limit: float | None, reach: float | None
) -> None:
    x = torch.randn(2, 5, *size) * torch.rand(2, 5, 1, 1)
    x = x if signed else x.abs()
    found = quantizer(bits, signed, feedback, limit, 8, reach)(x)
    within = x if reach is None else x.clamp(-reach, reach)
    expected = block_by_block(within, quantizer(bits, signed, feedback, limit, None), 8)
    assert torch.equal(found, expected)
    assert found.shape == x.shape


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_what_is_exported_does_the_same(feedback: bool, size: tuple[int, int]) -> None:
    quantize = quantizer(3, True, feedback, 0.7, 8, 1.5)
    x = torch.randn(2, 5, *size)
    torch.testing.assert_close(TracedSubset(quantize)(x), quantize(x))


def test_layout_and_batch_do_not_matter(way: str) -> None:
    quantize = quantizer(4, True, True, None, 8)
    x = torch.randn(3, 5, 13, 20)
    assert torch.equal(quantize(x.contiguous(memory_format=torch.channels_last)), quantize(x))
    assert torch.equal(quantize(x), torch.cat([quantize(each[None]) for each in x]))


def test_a_flat_region_beside_a_strong_one_is_finer_in_blocks() -> None:
    x = torch.randn(1, 5, 16, 16) * 0.01
    x[..., :8] += torch.randn(1, 5, 16, 8)
    errors = [(quantizer(4, True, False, None, block)(x) - x)[..., 8:].square().mean() for block in (None, 8)]
    assert errors[1] < 0.01 * errors[0]


@pytest.mark.parametrize("fed", [False, True])
def test_it_is_stored_and_restored(fed: bool) -> None:
    quantize = quantizer(4, True, fed, 0.5, 24, 0.75)
    tensors = quantize.to_tensors()
    again = restored(tensors)
    x = torch.randn(1, 5, 30, 26)
    assert again.block == 24 and torch.equal(again(x), quantize(x))


def restored(tensors: dict[str, Tensor], axis: int = 1) -> SubsetQuantizer:
    return SubsetQuantizer.from_tensors(tensors, 5, signed=True, bits=4, universal=UNIVERSAL, channel_axis=axis)


@pytest.mark.parametrize(
    "block, message",
    [
        (torch.tensor(7, dtype=torch.int16), "block has a value of 7; it must be at least 8"),
        (torch.tensor(257, dtype=torch.int16), "block has a value of 257; it must be at most 256"),
        (torch.tensor(8), "block is torch.int64"),
        (torch.tensor([8], dtype=torch.int16), r"block is torch.int16 of shape \(1,\)"),
    ],
)
def test_a_block_that_cannot_be_is_refused(block: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        restored({**quantizer(4, True, False, None, 8).to_tensors(), "block": block})


def test_what_runs_away_is_stopped(way: str) -> None:
    """A region far beyond all that calibration saw: its mean would be let through, and grow from layer to layer."""
    x = torch.randn(1, 5, 24, 24)
    x[..., :8, :8] += 1e6
    assert quantizer(4, True, False, 2.0, 8, 4.0)(x).abs().max() <= 4 + 2
    assert quantizer(4, True, False, 2.0, 8, 4.0).normalized(x).abs().max() < 1e3


@pytest.mark.parametrize("reach", [0.0, -1.0, float("inf")])
def test_a_reach_that_cannot_be_is_refused(reach: float) -> None:
    tensors = quantizer(4, True, False, None, 8, 1.0).to_tensors()
    with pytest.raises(ValueError, match="reach"):
        restored({**tensors, "reach": torch.full((5,), reach, dtype=torch.bfloat16)})
    with pytest.raises(ValueError, match="reach goes with block"):
        restored({name: each for name, each in tensors.items() if name != "block"})


def test_blocks_without_a_map_or_with_fixed_ranges_are_refused() -> None:
    tensors = quantizer(4, True, False, None, 8).to_tensors()
    with pytest.raises(ValueError, match="block goes with maps"):
        restored(tensors, axis=-1)
    with pytest.raises(ValueError, match="fixed goes with no limit and no block"):
        restored({**tensors, "fixed": torch.ones(2, 5)})
