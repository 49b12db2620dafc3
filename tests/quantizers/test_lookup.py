from collections.abc import Iterator

import pytest
import torch

from dfsq import runtime
from dfsq.nn import ErrorFeedback, SubsetQuantizer
from dfsq.quantizers.lookup import round_to_points
from dfsq.quantizers.subset import nearest, value_table
from dfsq.quantizers.universal import UniversalSet

UNIVERSAL = UniversalSet()


@pytest.fixture(scope="module")
def _compiler() -> None:
    """Skips where torch finds no compiler."""
    try:
        runtime.compile_quantizers()
    except Exception as error:
        pytest.skip(f"torch cannot compile here: {error}")
    finally:
        runtime._compiling = False


@pytest.fixture(params=["eager", pytest.param("compiled", marks=pytest.mark.slow)])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Runs a test by torch's own operators and by compiled code."""
    if request.param == "compiled":
        request.getfixturevalue("_compiler")
        monkeypatch.setattr(runtime, "_compiling", True)
    yield request.param


def random_points(channels: int, k: int) -> torch.Tensor:
    return torch.stack([UNIVERSAL.numerators[torch.randperm(377)[:k].sort()[0]] for _ in range(channels)])


def tables(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rows = points.T.contiguous()
    return UNIVERSAL.values(rows), (rows[:-1] + rows[1:]).float(), value_table(points, UNIVERSAL)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("k", [4, 16, 64])
def test_equals_a_search_for_the_nearest_point(path: str, k: int, signed: bool) -> None:
    channels = 5
    points = random_points(channels, k)
    x = torch.randn(20_000, channels)
    shift = torch.randn(channels) / 8 if signed else None
    spread = torch.rand(channels) + 2
    found = round_to_points(x, shift, spread, *tables(points))
    normalized = ((x if shift is None else x - shift) / spread).T.double() * 1024
    values = points.gather(1, nearest(normalized, points.double())) / 1024
    expected = values.float().T * spread + (0 if shift is None else shift)
    assert torch.equal(found, expected)


def test_a_tie_goes_to_the_upper_point(path: str) -> None:
    points = torch.tensor([[-1024, 0, 512, 1024]])
    x = torch.tensor([-0.5, 0.25, 0.75])[:, None] * 3
    found = round_to_points(x, None, torch.tensor([3.0]), *tables(points))
    assert found[:, 0].tolist() == [0.0, 1.5, 3.0]


@pytest.mark.slow
@pytest.mark.parametrize("feedback", [False, True])
def test_compiled_quantizer_equals_torchs_own_operators(
    _compiler: None, monkeypatch: pytest.MonkeyPatch, feedback: bool
) -> None:
    shares = torch.randn(11, 11).triu(1) / 8
    own = ErrorFeedback(torch.randperm(11), shares) if feedback else None
    quantize = SubsetQuantizer(random_points(11, 16), True, 4, UNIVERSAL, 1, feedback=own)
    x = torch.randn(2, 11, 30, 40).contiguous(memory_format=torch.channels_last)
    expected = quantize(x)
    monkeypatch.setattr(runtime, "_compiling", True)
    difference = (quantize(x) - expected).abs()
    # Feedback sums in another order: a value within a rounding error of a midpoint may go the other way.
    assert float((difference > 1e-6).float().mean()) <= (1e-3 if feedback else 0)
