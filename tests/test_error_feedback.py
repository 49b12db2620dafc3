import pytest
import torch
from torch import Tensor

from calibration.compensation import triangle
from calibration.selection import select
from dfsq.nn import ErrorFeedback, SubsetQuantizer
from dfsq.quantizers.stored import Stored
from dfsq.quantizers.subset import nearest
from dfsq.quantizers.universal import UniversalSet


def quantizer(channels: int, bits: int, feedback: ErrorFeedback | None, signed: bool = True) -> SubsetQuantizer:
    universal = UniversalSet()
    histogram = torch.randint(0, 50, (channels, universal.bins))
    points = select("exact", histogram, universal, bits, restarts=1, seed=0)
    return SubsetQuantizer(points, signed, bits, universal, 1, feedback=feedback)


def sensitivity(channels: int) -> Tensor:
    """Of a layer that makes three values out of every pixel."""
    mixing = torch.randn(3, channels)
    return (mixing.T @ mixing).double()


@pytest.mark.parametrize("channels", [1, 5, 19])
@pytest.mark.parametrize("signed", [True, False])
def test_equals_rounding_pixel_by_pixel(channels: int, signed: bool) -> None:
    feedback = ErrorFeedback(*triangle(sensitivity(channels)))
    quantize = quantizer(channels, 3, feedback, signed)
    x = torch.randn(2, channels, 5, 4) if signed else torch.rand(2, channels, 5, 4)
    found = quantize(x)
    values = quantize.universal.values(quantize.points)
    for sample, result in zip(x, found, strict=True):
        mean = sample.mean((1, 2)) if signed else torch.zeros(channels)
        spread = (sample - mean[:, None, None]).abs().amax((1, 2)) + 1e-8
        for pixel, got in zip(sample.flatten(1).T, result.flatten(1).T, strict=True):
            left = pixel - mean
            for position, channel in enumerate(feedback.order.tolist()):
                index = nearest((left[channel] / spread[channel]).view(1, 1), values[channel : channel + 1])
                rounded = values[channel, index.item()] * spread[channel]
                assert got[channel] == pytest.approx(float(rounded + mean[channel]), abs=2e-6)
                error = left[channel] - rounded
                left[feedback.order] -= error * feedback.shares[:, position]


def test_errors_cancel_in_what_the_next_layer_makes_of_them() -> None:
    x = torch.randn(1, 16, 40, 40)
    hessian = sensitivity(16)
    plain = quantizer(16, 3, None)
    feeding = SubsetQuantizer(plain.points, True, 3, plain.universal, 1, feedback=ErrorFeedback(*triangle(hessian)))
    before, after = ((each(x) - x).double() for each in (plain, feeding))
    seen = [torch.einsum("nchw,cd,ndhw->", error, hessian, error) for error in (before, after)]
    assert seen[1] < 0.1 * seen[0]
    assert after.square().sum() > before.square().sum()  # bought with larger errors where nobody looks


def test_indifferent_channels_are_rounded_to_the_nearest() -> None:
    x = torch.randn(1, 6, 9, 9)
    plain = quantizer(6, 4, None)
    feedback = ErrorFeedback(*triangle(torch.eye(6, dtype=torch.float64)))
    feeding = SubsetQuantizer(plain.points, True, 4, plain.universal, 1, feedback=feedback)
    torch.testing.assert_close(feeding(x), plain(x))


def test_memory_layout_does_not_matter() -> None:
    quantize = quantizer(12, 4, ErrorFeedback(*triangle(sensitivity(12))))
    x = torch.randn(2, 12, 16, 16)
    torch.testing.assert_close(quantize(x.contiguous(memory_format=torch.channels_last)), quantize(x))


@pytest.mark.parametrize("channels", [1, 2, 5, 64, 300])
def test_it_comes_back_as_it_is_used(channels: int) -> None:
    feedback = ErrorFeedback(*triangle(sensitivity(channels)))
    tensors = feedback.to_tensors()
    loaded = ErrorFeedback.from_tensors(Stored(tensors, ErrorFeedback.SUFFIXES), channels)
    assert torch.equal(loaded.order, feedback.order) and torch.equal(loaded.shares, feedback.shares)
    assert all(torch.equal(each, tensors[name]) for name, each in loaded.to_tensors().items())


def test_files_of_before_have_wider_orders() -> None:
    tensors = ErrorFeedback(*triangle(sensitivity(6))).to_tensors()
    wide = {**tensors, "order": tensors["order"].to(torch.int16)}
    loaded = ErrorFeedback.from_tensors(Stored(wide, ErrorFeedback.SUFFIXES), 6)
    assert loaded.order.tolist() == tensors["order"].tolist()


@pytest.mark.parametrize(
    "wrong, message",
    [
        (torch.tensor([0, 1, 1, 3], dtype=torch.int16), "no permutation of 4 channels"),
        (torch.tensor([0, 1, 4, 3], dtype=torch.uint8), "no permutation of 4 channels"),
        (torch.tensor([0, 1, 2], dtype=torch.int16), "order is torch.int16"),
        (torch.tensor([0, 1, 2, 3]), "order is torch.int64"),
    ],
)
def test_an_order_that_does_not_fit_is_refused(wrong: Tensor, message: str) -> None:
    tensors = ErrorFeedback(*triangle(sensitivity(4))).to_tensors()
    with pytest.raises(ValueError, match=message):
        ErrorFeedback.from_tensors(Stored({**tensors, "order": wrong}, ErrorFeedback.SUFFIXES), 4)
