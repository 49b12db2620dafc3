"""The gate in training: what gradients reach, against an explicit graph, and what is frozen of it."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from calibration.ddtb import TrainableBounds, TrainableGate
from dfsq.nn.gate import HIDDEN

MEANS = torch.randn(7, 12, generator=torch.Generator().manual_seed(21)) * 2 + 1


def gate(seed: int = 3) -> TrainableGate:
    return TrainableGate(12, torch.Generator().manual_seed(seed))


def straight(x: Tensor) -> Tensor:
    return x + (x.round() - x).detach()


def explicit(net: TrainableGate, means: Tensor) -> Tensor:
    """Sample by sample in float64, rounded in the ranges of a sample, normalized by the statistics of the batch."""

    def two_bits(row: Tensor) -> Tensor:
        low, high = row.detach().min(), row.detach().max()
        s = 3 / (high - low)
        return (straight(s * row - (s * low).round()) + (s * low).round()) / s

    def ternary(weight: Tensor) -> Tensor:
        largest = weight.detach().abs().max() + 1e-8
        return straight(weight / largest) * largest

    hidden = torch.stack([ternary(net.first.double()) @ two_bits(row.double()) for row in means])
    hidden = (hidden - hidden.mean(0)) / (hidden.var(0, correction=0) + 1e-5).sqrt()
    hidden = F.relu(hidden * net.norm.weight.double() + net.norm.bias.double())
    return torch.stack([ternary(net.second.double()) @ two_bits(row) for row in hidden])


def test_values_and_gradients_are_those_of_the_explicit_graph() -> None:
    net = gate()
    weights = torch.randn(len(MEANS), 2, generator=torch.Generator().manual_seed(4))
    leaves = list(net.parameters())
    results = net(MEANS), explicit(net, MEANS)
    torch.testing.assert_close(results[0].double(), results[1], rtol=1e-4, atol=1e-5)
    found, expected = (torch.autograd.grad((each * weights).sum(), leaves) for each in results)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_a_gradient_reaches_everything_in_it_and_nothing_before() -> None:
    quantizer = TrainableBounds(2, 99.0, gate())
    x = torch.randn(4, 12, 8, 8, requires_grad=True)
    quantizer(x).square().sum().backward()
    for name, parameter in quantizer.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    inside = (x >= quantizer.lower) & (x <= quantizer.upper)
    assert x.grad is not None and x.grad.isfinite().all() and inside.any()


def test_no_gradient_goes_through_the_gate_to_the_network() -> None:
    quantizer = TrainableBounds(2, 99.0, gate())
    x = torch.randn(4, 12, 8, 8, requires_grad=True)
    quantizer.gate.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))  # type: ignore[union-attr]
    seen: list[tuple[Tensor, Tensor]] = []
    quantizer(x)
    ((means, logits),) = seen
    assert not means.requires_grad
    assert logits.requires_grad and logits.shape == (4, 2)


@pytest.mark.parametrize("seed", range(4))
def test_frozen_is_the_same_in_evaluation(seed: int) -> None:
    net = gate(seed)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        net(MEANS).square().mean().backward()
        optimizer.step()
    net.eval()
    frozen = net.frozen()
    torch.testing.assert_close(frozen(MEANS), 2 * net(MEANS).detach().sigmoid(), rtol=1e-6, atol=1e-6)
    assert set(frozen.first.unique().tolist()) <= {-1, 0, 1}


def test_a_gate_without_weights_changes_nothing() -> None:
    net = gate()
    with torch.no_grad():
        net.second.zero_()
    assert torch.equal(net(MEANS), torch.zeros(len(MEANS), 2))
    assert torch.equal(net.frozen()(MEANS), torch.ones(len(MEANS), 2))
    x = torch.randn(4, 12, 8, 8)
    gated, plain = TrainableBounds(2, 99.0, net), TrainableBounds(2, 99.0)
    assert torch.equal(gated(x), plain(x))
    assert torch.equal(gated.frozen()(x), plain.frozen()(x))


@pytest.mark.parametrize("value", [0.0, 4.0])
def test_constant_means_have_gradients_that_are_numbers(value: float) -> None:
    net = gate()
    net(torch.full((3, 12), value)).sum().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in net.parameters())


def test_weights_are_drawn_by_the_generator_alone() -> None:
    torch.manual_seed(1)
    one = gate()
    torch.manual_seed(2)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), gate().parameters(), strict=True))
    assert one.first.abs().max() <= 12**-0.5 and one.second.abs().max() <= HIDDEN**-0.5
    assert one.first.abs().max() > 0.95 * 12**-0.5
