from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from calibration.sensitivity import measure
from dfsq.errors import UsageError
from dfsq.model import NetworkInfo, SRModel


class Twice(nn.Module):
    """Three channels in, three out; the input of ``second`` is used once more behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 3, 1)
        self.never = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        result: Tensor = self.last(x + self.second(x).tanh())
        return result


def model() -> SRModel:
    return SRModel(Twice(), NetworkInfo("none", {}, 1, 1.0), ())


def silent(_what: str, _done: int, _total: int) -> None:
    pass


def counted(jacobian: Tensor) -> Tensor:
    """Second moments ``(C, C)`` of derivatives ``(3·9, C, 9)`` per output value. Squared errors count 0.25, and
    2.25 more along the luma of red, green and blue."""
    luma = torch.tensor([65.481, 128.553, 24.966], dtype=torch.float64)
    along = torch.einsum("c,cqip->qip", luma / luma.norm(), jacobian.unflatten(0, (3, 9)))
    plain = torch.einsum("oip,ojp->ij", jacobian, jacobian)
    return (0.25 * plain + 2.25 * torch.einsum("qip,qjp->ij", along, along)) / 27


def test_equals_the_derivative_of_the_output() -> None:
    network = model()
    image = torch.rand(1, 3, 3, 3)
    found = measure(network, ["second", "never"], [image] * 4000, 0, silent)
    assert "never" not in found
    net = network.net
    x = net.first(image).detach()

    def behind(inner: Tensor) -> Tensor:
        return net.last(x + net.second(inner).tanh())  # type: ignore[no-any-return]

    jacobian = torch.autograd.functional.jacobian(behind, x).reshape(27, 4, 9).double()
    expected = counted(jacobian)
    torch.testing.assert_close(found["second"].inputs, expected, rtol=0.1, atol=0.05 * float(expected.diagonal().max()))
    inner = net.second(x).detach()
    jacobian = torch.autograd.functional.jacobian(lambda y: net.last(x + y.tanh()), inner).reshape(27, 4, 9).double()
    expected = counted(jacobian)
    torch.testing.assert_close(
        found["second"].outputs, expected, rtol=0.1, atol=0.05 * float(expected.diagonal().max())
    )


def test_the_same_seed_gives_the_same_result_and_leaves_the_model_alone() -> None:
    network = model()
    images = [torch.rand(2, 3, 8, 8)]
    one, other = (measure(network, ["first"], images, 5, silent)["first"] for _ in range(2))
    assert torch.equal(one.inputs, other.inputs)
    assert torch.equal(one.outputs, other.outputs)
    assert all(parameter.grad is None for parameter in network.parameters())
    with torch.inference_mode():
        assert network(images[0]).shape == (2, 3, 8, 8)


class Changing(nn.Module):
    """Two layers; what they read and make is changed afterwards, where it lies or in a copy."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3, padding=1)
        for each in self.parameters():
            each.data = torch.randn(each.shape, generator=generator)
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = (torch.relu_(x) if self.in_place else torch.relu(x)) - 0.1
        y = self.second(x)
        if self.in_place:
            y += x
            x *= 2
            return x.add_(y)
        return 2 * x + (y + x)


def test_maps_that_are_changed_where_they_lie_give_the_same() -> None:
    image = torch.rand(1, 3, 6, 6)
    one, other = (
        measure(SRModel(Changing(each), NetworkInfo("none", {}, 1, 1.0), ()), ["first", "second"], [image], 0, silent)
        for each in (False, True)
    )
    for name in one:
        torch.testing.assert_close(one[name].inputs, other[name].inputs)
        torch.testing.assert_close(one[name].outputs, other[name].outputs)


class Overwriting(nn.Module):
    """Overwrites what its own derivative needs, which only shows when that is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.only(x).relu()
        x *= 2
        return x


def test_a_network_that_overwrites_its_own_maps_is_told() -> None:
    model = SRModel(Overwriting(), NetworkInfo("none", {}, 1, 1.0), ())
    with pytest.raises(UsageError, match="takes no gradients .*which `compensation`"):
        measure(model, ["only"], [torch.rand(1, 3, 6, 6)], 0, silent)


class Keeping(nn.Module):
    """Keeps its map in an object of its own, where no copy would look for a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.kept = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3), SimpleNamespace(map=None)

    def forward(self, x: Tensor) -> Tensor:
        self.kept.map = self.first(x)
        return self.second(self.kept.map)  # type: ignore[no-any-return]


def test_what_a_pass_with_gradients_leaves_in_a_network_goes_with_it() -> None:
    model = SRModel(Keeping(), NetworkInfo("none", {}, 1, 1.0), ())
    assert measure(model, ["first", "second"], [torch.rand(2, 3, 12, 12)], 0, silent).keys() == {"first", "second"}
    assert model.net.kept.map is None
