"""Channels that are scaled alike, and what scaling them leaves as it is."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calibration import folding
from calibration.channels import FIXED, trace
from calibration.layers import LayerBits
from calibration.sensitivity import measure
from dfsq import networks
from dfsq.model import NetworkInfo, SRModel
from dfsq.networks.imdn import IMDN
from dfsq.networks.rlfn import RLFN
from dfsq.networks.scope import quantizable_layers, shifts_colours

IMAGES = torch.rand(2, 3, 20, 22, generator=torch.Generator().manual_seed(5))


class Everything(nn.Module):
    """What channels meet in networks: all of it commutes but the product of two maps, the sine and the flattening."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.c = nn.Conv2d(8, 8, 1)
        self.d = nn.Conv2d(12, 12, 3, padding=1)
        self.e = nn.Conv2d(4, 4, 1)
        self.f = nn.Conv2d(4, 4, 1)
        self.last = nn.Conv2d(3, 3, 3, padding=1)
        self.slope = nn.PReLU(8)

    def forward(self, x: Tensor) -> Tensor:
        a = self.slope(self.a(x))
        b = F.leaky_relu(self.b(a), 0.1) + a
        b += 0.5 * self.c(b)
        parts = torch.split(b, [4, 4], dim=1)
        joined = torch.cat([*parts, F.max_pool2d(b[:, ::2], 3, 1, 1)], 1)
        up = F.pixel_shuffle(self.d(joined), 2)
        attention = torch.sigmoid(self.e(b[:, :4].mean((2, 3), keepdim=True)))
        odd = torch.sin(self.f(b[:, 2:6] * attention)) * parts[0]
        return self.last(up) + F.interpolate(odd[:, :3], scale_factor=2) + odd.mean()


def wrapped(net: nn.Module) -> SRModel:
    return SRModel(net.eval(), NetworkInfo("own", {}, 2, 1.0, "", ""), ())


@pytest.mark.parametrize(
    "net", [Everything(), IMDN(2, 2, 8, 2, 2), RLFN(2, 2, 8, 8, 4)], ids=lambda net: type(net).__name__
)
def test_scaling_channels_leaves_the_output_as_it_is(net: nn.Module) -> None:
    model = wrapped(net)
    layers = {name: layer for name, layer in quantizable_layers(net).items() if isinstance(layer, nn.Conv2d)}
    channels = trace(model, layers, IMAGES[:1])
    assert channels.keys() == layers.keys()
    factors = torch.rand(10_000).double() * 3 + 0.3
    factors[FIXED] = 1
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        for name, each in channels.items():
            folding.scale(scaled.net.get_submodule(name), factors[each.inputs], factors[each.outputs])
        before, after = model(IMAGES), scaled(IMAGES)
    assert all((each.outputs != FIXED).any() for name, each in channels.items() if name in ("a", "b", "c", "IMDB1.c1"))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5 * float(before.abs().max()))


def test_equalization_narrows_grids_and_changes_nothing_else() -> None:
    model = networks.from_state(IMDN(2, 2, 8, 2, 2).state_dict())
    layer = model.net.get_submodule("IMDB1.c1")
    with torch.no_grad():
        layer.weight[3] *= 30  # one channel beside which the others drown
    before = model(IMAGES)
    plan = {
        name: LayerBits(7, 8, outputs=True)
        for name, layer in quantizable_layers(model.net).items()
        if not shifts_colours(layer) and "conv_du" not in name
    }
    sensitivities = measure(model, list(plan), [IMAGES], 0, lambda *_: None)
    rows = layer.weight.flatten(1).norm(dim=1)
    changed = folding.fold(model, plan, [IMAGES], sensitivities)
    torch.testing.assert_close(model(IMAGES), before, rtol=0, atol=1e-5)
    after = layer.weight.flatten(1).norm(dim=1)
    assert after[3] / after.median() < 0.2 * rows[3] / rows.median()
    measured = measure(model, list(plan), [IMAGES], 0, lambda *_: None)
    for name in plan:
        torch.testing.assert_close(changed[name].outputs, measured[name].outputs, rtol=1e-3, atol=1e-12)
