"""The C code of calibration against torch's operators, which other tests hold against dense references."""

from collections.abc import Iterator

import pytest
import torch

from calibration import native
from calibration.compensation import compensated
from calibration.counting import count_blocks
from calibration.descent import Descent
from calibration.selection.exact import least_errors, select
from dfsq.quantizers.universal import UniversalSet
from dfsq.runtime import compiled_quantizers, without_compiled_code


@pytest.fixture(autouse=True)
def compiler() -> Iterator[None]:
    with compiled_quantizers():
        if not native.available(torch.zeros(1)):
            pytest.skip("no C compiler")
        yield


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("outputs", "inputs", "points"),
    [(1, 1, 2), (1, 9, 4), (16, 1, 4), (3, 31, 16), (3, 32, 4), (3, 33, 4), (24, 100, 256), (64, 576, 4)],
)
def test_codes_are_those_by_torch(outputs: int, inputs: int, points: int, threads: int) -> None:
    x, y = (torch.randn(2 * size + 5, size, dtype=torch.float64) + 0.5 for size in (inputs, outputs))
    weight, levels = torch.randn(outputs, inputs), torch.randn(outputs, points).sort(1).values
    usual = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        codes = compensated(weight, levels, x.T @ x, y.T @ y)
        better = Descent(weight, x.T @ x, y.T @ y).codes(codes, levels)
    finally:
        torch.set_num_threads(usual)
    with without_compiled_code():
        assert torch.equal(codes, compensated(weight, levels, x.T @ x, y.T @ y))
        assert torch.equal(better, Descent(weight, x.T @ x, y.T @ y).codes(codes, levels))


@pytest.mark.parametrize("k", [1, 2, 7, 64])
def test_selections_and_their_errors_are_those_by_torch(k: int) -> None:
    universal = UniversalSet(4)
    histogram = torch.randint(0, 50, (5, universal.bins)) * (torch.rand(5, universal.bins) < 0.02)
    histogram[3, 1000:] = 0  # on one side only
    histogram[4] = 0  # a channel without values
    found = select(histogram, universal, k), least_errors(histogram, universal, k)
    with without_compiled_code():
        expected = select(histogram, universal, k), least_errors(histogram, universal, k)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(
    ("channels", "height", "width", "side"),
    [(1, 1, 1, 8), (3, 8, 8, 8), (2, 9, 23, 8), (64, 16, 24, 8), (65, 10, 10, 4), (130, 17, 5, 5), (5, 4, 4, 2)],
)
def test_counts_of_blocks_are_those_by_torch(
    channels: int, height: int, width: int, side: int, signed: bool, threads: int
) -> None:
    image = torch.randn(height, width, channels) * torch.rand(channels)
    image[: height // 2] *= 0.01  # blocks of little spread count little
    image[..., 0] = 0.25
    if not signed:
        image = image.relu()
    counts = torch.ones(2, UniversalSet(4).bins, channels, dtype=torch.int64)  # what was counted before stays
    usual = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        largest = native.count_blocks(counts[0], image, side, signed)
    finally:
        torch.set_num_threads(usual)
    assert torch.equal(largest, count_blocks(counts[1], image, side, signed))
    assert torch.equal(counts[0], counts[1])


def test_what_c_would_misread_is_refused() -> None:
    square = torch.eye(3, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"contiguous torch\.float64 of shape \(3, 3\)"):
        native.compensate(square, square[:, :2].contiguous(), square[:, :1].contiguous(), square[:2], square)
    with pytest.raises(ValueError, match=r"contiguous torch\.int64 of shape \(3,\)"):
        native.savings(torch.zeros(3), square, 2, 1.0)


def test_without_this_code_calibration_goes_on_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that was there for the code of quantizers can be too slow, or lack room, for this one."""
    attempts = []

    def broken(package: str, source: str) -> None:
        attempts.append(source)
        raise RuntimeError("cc timed out")

    x, y = torch.randn(20, 9, dtype=torch.float64), torch.randn(20, 4, dtype=torch.float64)
    arguments = torch.randn(4, 9), torch.randn(4, 4).sort(1).values, x.T @ x, y.T @ y
    expected = compensated(*arguments)
    native._attempt.cache_clear()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(native, "compiled", broken)
            assert not native.available(torch.zeros(1))
            assert native.failure() == "cc timed out"
            assert torch.equal(compensated(*arguments), expected)
            assert len(attempts) == 1
    finally:
        native._attempt.cache_clear()
