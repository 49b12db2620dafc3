import pytest
import torch

from dfsq import runtime
from dfsq.nn import ErrorFeedback, SubsetQuantizer
from dfsq.quantizers import native
from dfsq.quantizers.lookup import round_to_points
from dfsq.quantizers.subset import nearest, value_table
from dfsq.quantizers.universal import UniversalSet

UNIVERSAL = UniversalSet()


@pytest.fixture(params=["torch", "C", pytest.param("torch.compile", marks=pytest.mark.slow)])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test by each of the three ways; those that find no compiler are skipped."""
    monkeypatch.setattr(native, "_library", None)
    monkeypatch.setattr(runtime, "_compiling", False)
    try:
        if request.param == "C":
            native.build()
        elif request.param == "torch.compile":
            torch.compile(torch.neg)(torch.ones(1))
            monkeypatch.setattr(runtime, "_compiling", True)
    except Exception as error:
        pytest.skip(f"no compiler: {error}")
    return str(request.param)


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


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 6])
def test_every_way_quantizes_alike(path: str, bits: int, feedback: bool, fixed: bool) -> None:
    channels = 1 if fixed else 11
    own = ErrorFeedback(torch.randperm(11), torch.randn(11, 11).triu(1) / 8) if feedback and not fixed else None
    span = torch.tensor([0.1, 2.0]) if fixed else None
    points = random_points(channels, 2**bits)
    quantize = SubsetQuantizer(points, True, bits, UNIVERSAL, 1, feedback=own, fixed=span)
    x = torch.randn(2, 11, 30, 40).contiguous(memory_format=torch.channels_last)
    with runtime.without_compiled_code():
        expected = quantize(x)
    difference = (quantize(x) - expected).abs()
    # Feedback sums in another order: a value within a rounding error of a midpoint may go the other way.
    assert float((difference > 1e-6).float().mean()) <= (1e-3 if own else 0)


def test_without_a_c_compiler_there_is_a_clear_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(RuntimeError, match="no C compiler"):
        native.build()
