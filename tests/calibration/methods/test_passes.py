"""Two passes of sequential calibration: the second knows how the quantized network reacts to errors."""

from typing import Any

import pytest
import torch
from torch import Tensor

import dfsq
from calibration import Sequential, quantize
from calibration.methods.run import Calibration
from calibration.progress import silent
from calibration.sensitivity import measure
from dfsq.model import SRModel
from dfsq.nn import quantized_layers


@pytest.fixture
def images() -> Tensor:
    return torch.rand(10, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_the_second_goes_by_the_network_that_the_first_gives(plausible_model: SRModel, images: Tensor) -> None:
    chosen: dict[str, Any] = {"w_bits": 2, "a_bits": 2, "feedback": True, "block": 8}
    few = [images[:8]]
    first = quantize(plausible_model, few, Sequential(passes=1, **chosen))
    by_hand = dfsq.networks.from_state(plausible_model.net.state_dict())
    with torch.no_grad():
        for name, layer in quantized_layers(first.net):
            by_hand.net.get_submodule(name).weight.copy_(layer.weight)
            by_hand.net.get_submodule(name).bias.copy_(layer.bias)
    known = measure(by_hand, [name for name, _ in quantized_layers(first.net)], few, 0, silent)
    run = Calibration(plausible_model, [images], Sequential(passes=1, **chosen), silent, sensitivities=known)
    expected = run.quantized(run.plan, silent).net.state_dict()
    found = quantize(plausible_model, [images], Sequential(passes=2, **chosen)).net.state_dict()
    once = quantize(plausible_model, [images], Sequential(passes=1, **chosen)).net.state_dict()
    assert all(torch.equal(found[name], each) for name, each in expected.items())
    assert not all(torch.equal(found[name], each) for name, each in once.items())


@pytest.mark.parametrize(
    ("bits", "changes", "passes"),
    [
        ((4, 4), {}, 1),
        ((3, 4), {}, 2),
        ((4, 3), {}, 2),
        ((2, 2), {}, 2),
        ((2, 2), {"passes": 1}, 1),
        ((8, 8), {"passes": 2}, 2),
        ((4, 4), {"layer_bits": (("body.0.body.0", 3),)}, 2),
        ((4, 4), {"outside_bits": 2}, 1),
        ((4, 4), {"outside_bits": 2, "scope": "all"}, 1),
    ],
)
def test_two_passes_are_for_few_bits(
    plausible_model: SRModel, images: Tensor, bits: tuple[int, int], changes: dict[str, Any], passes: int
) -> None:
    chosen = Sequential(w_bits=bits[0], a_bits=bits[1], **changes)
    assert chosen.rehearses(Calibration(plausible_model, [images], chosen, silent).plan) == (passes == 2)
