import pytest
import torch

from dfsq import runtime
from dfsq.nn import ErrorFeedback, SubsetQuantizer
from dfsq.quantizers import fused, native
from dfsq.quantizers.subset import nearest
from dfsq.quantizers.universal import UniversalSet

UNIVERSAL = UniversalSet()


@pytest.fixture(params=["torch", "C", pytest.param("torch.compile", marks=pytest.mark.slow)])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test by each of the three ways; those that find no compiler are skipped."""
    monkeypatch.setattr(native, "library", None)
    monkeypatch.setattr(fused, "ready", False)
    try:
        if request.param == "C":
            native.build()
        elif request.param == "torch.compile":
            fused.build("cpu")
    except Exception as error:
        pytest.skip(f"no compiler: {error}")
    return str(request.param)


def random_points(channels: int, k: int) -> torch.Tensor:
    return torch.stack([UNIVERSAL.numerators[torch.randperm(377)[:k].sort()[0]] for _ in range(channels)])


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("k", [4, 16, 64])
@pytest.mark.parametrize("channels", [1, 5, 70])
def test_equals_a_search_for_the_nearest_point(path: str, channels: int, k: int, signed: bool) -> None:
    points = random_points(channels, k)
    quantize = SubsetQuantizer(points, signed, k.bit_length() - 1, UNIVERSAL, 1)
    x = torch.randn(1, channels, 37, 53)
    found = quantize(x)[0].flatten(1)
    x = x[0].flatten(1)
    shift = x.double().mean(1, keepdim=True).float() if signed else torch.zeros(channels, 1)
    spread = (x - shift).abs().amax(1, keepdim=True) + 1e-8
    index = nearest((x - shift) / spread * 1024, points.float())
    assert torch.equal(found, points.gather(1, index) / 1024 * spread + shift)


def test_a_tie_goes_to_the_upper_point(path: str) -> None:
    quantize = SubsetQuantizer(torch.tensor([[-1024, 0, 512, 1024]]), False, 2, UNIVERSAL, 1)
    x = torch.tensor([-0.5, 0.25, 0.75, 1.0]).repeat(32)[None, None] * 3
    assert quantize(x)[0, 0, :4].tolist() == [0.0, 1.5, 3.0, 3.0]


@pytest.mark.parametrize("feedback", [False, True])
def test_threads_do_not_matter(path: str, feedback: bool) -> None:
    own = ErrorFeedback(torch.randperm(20), torch.randn(20, 20).triu(1) / 8) if feedback else None
    quantize = SubsetQuantizer(random_points(20, 16), True, 4, UNIVERSAL, 1, feedback=own)
    x = torch.randn(1, 20, 41, 53)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(quantize(x))
    torch.set_num_threads(before)
    # Torch's matrix products may sum in another order with feedback.
    assert all(float(((each - found[0]).abs() > 1e-6).float().mean()) <= (1e-3 if own else 0) for each in found)


def test_what_is_not_a_number_stays_visible(path: str) -> None:
    x = torch.rand(1, 3, 20, 20)
    x[0, 1, 5, 5] = torch.nan
    for signed in (True, False):
        found = SubsetQuantizer(random_points(3, 4), signed, 2, UNIVERSAL, 1)(x)
        assert found[0, 1].isnan().all()
        assert not found[0, [0, 2]].isnan().any()


@pytest.mark.parametrize("fixed", ["tensor", "channels", None])
@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 6])
def test_every_way_quantizes_alike(path: str, bits: int, feedback: bool, fixed: str | None) -> None:
    channels = 1 if fixed == "tensor" else 11
    own = None
    if feedback and fixed != "tensor":
        own = ErrorFeedback(torch.randperm(11), torch.randn(11, 11).triu(1) / 8)
    spans = {"tensor": torch.tensor([0.1, 2.0]), "channels": torch.stack([torch.randn(11) / 5, torch.rand(11) + 1])}
    span = spans.get(fixed) if fixed else None
    points = random_points(channels, 2**bits)
    quantize = SubsetQuantizer(points, True, bits, UNIVERSAL, 1, feedback=own, fixed=span)
    x = torch.randn(2, 11, 31, 40).contiguous(memory_format=torch.channels_last)
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
