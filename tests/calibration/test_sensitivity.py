import torch
from torch import Tensor, nn

from calibration.sensitivity import measure
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
    expected = torch.einsum("oip,ojp->ij", jacobian, jacobian) / 27
    torch.testing.assert_close(found["second"].inputs, expected, rtol=0.1, atol=0.05 * float(expected.diagonal().max()))
    inner = net.second(x).detach()
    jacobian = torch.autograd.functional.jacobian(lambda y: net.last(x + y.tanh()), inner).reshape(27, 4, 9).double()
    expected = torch.einsum("oip,ojp->ij", jacobian, jacobian) / 27
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
