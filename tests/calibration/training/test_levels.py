"""Rounding to trained levels: against the definition, an explicit graph in float64, and a table worked by hand."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from calibration.training import levels as module
from calibration.training.levels import nearest_level
from dfsq.nn import ErrorFeedback


@pytest.fixture(params=["C", "torch"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "torch":
        monkeypatch.setattr(module, "_library", lambda: None)
    elif module._library() is None:
        pytest.skip("there is no C compiler")
    yield request.param


def explicit(x: Tensor, levels: Tensor) -> Tensor:
    """The straight-through graph, written out: ``x`` ``(n, C)`` and ``levels`` ``(k, C)``."""
    distance = (x.detach()[:, None] - levels.detach()).abs()
    code = len(levels) - 1 - distance.flip(1).argmin(1)
    clipped = torch.minimum(torch.maximum(x, levels[0].detach()), levels[-1].detach())
    return levels.gather(0, code) + clipped - clipped.detach()


@pytest.mark.parametrize("shape, axis", [((2, 5, 7, 9), 1), ((3, 130, 4, 3), 1), ((2, 6, 70), -1), ((1, 1, 5, 5), 1)])
@pytest.mark.parametrize("points", [4, 8, 16, 256])
def test_values_and_gradients(implementation: str, shape: tuple[int, ...], axis: int, points: int) -> None:
    channels = shape[axis]
    x = torch.randn(shape)
    levels = torch.randn(points, channels).sort(0).values
    weights = torch.randn(shape)
    ours = [each.clone().requires_grad_() for each in (x, levels)]
    result = nearest_level(*ours, axis)
    got = torch.autograd.grad((result * weights).sum(), ours)
    theirs = [each.double().requires_grad_() for each in (x.movedim(axis, -1).reshape(-1, channels), levels)]
    expected = explicit(*theirs)
    rows = weights.movedim(axis, -1).reshape(-1, channels)
    to_x, to_levels = torch.autograd.grad((expected * rows).sum(), theirs)
    torch.testing.assert_close(result.movedim(axis, -1).reshape(-1, channels), expected.float(), rtol=0, atol=0)
    torch.testing.assert_close(got[0].movedim(axis, -1).reshape(-1, channels), to_x.float(), rtol=0, atol=0)
    torch.testing.assert_close(got[1], to_levels.float(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("feedback", [False, True])
def test_samples_with_levels_of_their_own_are_rounded_one_by_one(implementation: str, feedback: bool) -> None:
    errors = ErrorFeedback(torch.randperm(7), torch.rand(7, 7).triu(1) / 4 + torch.eye(7)) if feedback else None
    x, levels = torch.randn(3, 7, 9, 10), torch.randn(3, 4, 7).sort(1).values
    weights = torch.randn_like(x)
    batch = [each.clone().requires_grad_() for each in (x, levels)]
    result = nearest_level(*batch, 1, errors)
    grads = torch.autograd.grad((result * weights).sum(), batch)
    for sample in range(3):
        alone = [x[sample : sample + 1].clone().requires_grad_(), levels[sample].clone().requires_grad_()]
        expected = nearest_level(*alone, 1, errors)
        to_x, to_levels = torch.autograd.grad((expected * weights[sample]).sum(), alone)
        assert torch.equal(result[sample], expected[0])
        assert torch.equal(grads[0][sample], to_x[0])
        torch.testing.assert_close(grads[1][sample], to_levels)


def test_errors_that_are_handed_on_worked_by_hand(implementation: str) -> None:
    # Channel 1 first: 0.4 becomes 0, and a half of that error is taken from channel 0, 0.6 - 0.2: it becomes 0 too.
    feedback = ErrorFeedback(torch.tensor([1, 0]), torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
    levels = torch.tensor([[0.0, 0.0], [1.0, 1.0]], requires_grad=True)
    x = torch.tensor([[0.6, 0.4], [0.6, 0.6], [1.2, 1.8]], requires_grad=True)
    result = nearest_level(x[None], levels, -1, feedback)[0]
    assert result.tolist() == [[0, 0], [1, 1], [1, 1]]
    result.backward(torch.tensor([[1.0, 2.0], [4.0, 8.0], [16.0, 32.0]]))
    assert x.grad is not None and levels.grad is not None
    assert x.grad.tolist() == [[1, 2], [4, 8], [16, 0]]  # 1.2 - 0.4 lies within the levels
    assert levels.grad.tolist() == [[1, 2], [20, 40]]


def test_a_table_worked_by_hand(implementation: str) -> None:
    levels = torch.tensor([[-1.0], [0.0], [2.0]], requires_grad=True)
    x = torch.tensor([[-1.5], [-1.0], [-0.5], [0.9], [1.0], [2.0], [2.1]], requires_grad=True)
    result = nearest_level(x, levels, 1)
    assert result.flatten().tolist() == [-1, -1, 0, 0, 2, 2, 2]  # halfway: the upper one
    result.backward(torch.tensor([[1.0], [2.0], [4.0], [8.0], [16.0], [32.0], [64.0]]))
    assert x.grad is not None and levels.grad is not None
    assert x.grad.flatten().tolist() == [0, 2, 4, 8, 16, 32, 0]  # nothing beyond the levels
    assert levels.grad.flatten().tolist() == [3, 12, 112]


def test_both_implementations_give_the_same_bytes_whatever_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    if module._library() is None:
        pytest.skip("there is no C compiler")
    x, levels = torch.randn(2, 24, 9, 9), torch.randn(4, 24).sort(0).values
    by_c = nearest_level(x, levels, 1)
    monkeypatch.setattr(module, "_library", lambda: None)
    assert torch.equal(nearest_level(x, levels, 1), by_c)


@pytest.mark.parametrize("points", [4, 8])
def test_training_finds_what_a_grid_search_finds(implementation: str, points: int) -> None:
    # On fixed samples, descent on the squared error must come as close as the best of all evenly spread grids.
    x = torch.randn(4000, 1).abs().sqrt()
    grids = [
        torch.linspace(low, high, points)[:, None]
        for low in torch.linspace(0, 0.6, 25).tolist()
        for high in torch.linspace(1, 2.2, 49).tolist()
    ]
    best = min((nearest_level(x, grid, 1) - x).square().mean().item() for grid in grids)
    levels = torch.linspace(0, float(x.max()), points)[:, None].requires_grad_()
    optimizer = torch.optim.Adam([levels], 0.01)
    for _ in range(300):
        optimizer.zero_grad()
        error = (nearest_level(x, levels.sort(0).values, 1) - x).square().mean()
        error.backward()
        optimizer.step()
    assert error.item() < 1.02 * best
