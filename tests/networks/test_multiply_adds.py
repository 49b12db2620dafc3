"""Multiply-adds against figures worked out by hand, for an image of 64×64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import calibration
import dfsq
from calibration import OnePass
from dfsq import networks
from dfsq.model import SRModel
from dfsq.networks import architectures
from dfsq.networks.multiply_adds import Work, count, of_model, shares

PIXELS = 64 * 64


class Every(nn.Module):
    """One of everything that multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4, stride=2)
        self.kernel = nn.Parameter(torch.rand(8, 1, 3, 3))
        self.linear = nn.Linear(8, 4)
        self.line = nn.Conv1d(4, 4, 3, padding=1)
        self.volume = nn.Conv3d(1, 2, (2, 3, 3), padding=(0, 1, 1))
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.up = nn.ConvTranspose2d(4, 3, 4, stride=4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grouped(self.first(x))  # 32×32
        x = F.conv2d(x, self.kernel, padding=1, groups=8)
        x = self.linear(x.movedim(1, -1)).movedim(-1, 1)
        x = self.line(x.flatten(2)).view_as(x)
        x = x + self.volume(x[:, None, :2]).mean()
        tokens = x.flatten(2).transpose(1, 2)[:, :100]
        x = x + (tokens @ tokens.transpose(1, 2)).mean() + F.scaled_dot_product_attention(tokens, tokens, tokens).mean()
        x = x + self.attention(tokens, tokens, tokens, need_weights=False)[0].mean()
        return self.up(x)[..., :128, :128]


EXPECTED = {
    "first (Conv2d)": PIXELS * 8 * 3 * 9,
    "grouped (Conv2d)": PIXELS // 4 * 8 * 2 * 9,
    "F.conv2d in the network itself": PIXELS // 4 * 8 * 9,
    "linear (Linear)": PIXELS // 4 * 8 * 4,
    "line (Conv1d)": PIXELS // 4 * 4 * 4 * 3,
    "volume (Conv3d)": PIXELS // 4 * 2 * 2 * 9,
    "matmul in the network itself": 100 * 100 * 4,
    "attention in the network itself": 2 * 100 * 100 * 4,
    # Queries, keys, values and the output are projected; then the two products of attention.
    "attention in attention": 4 * 100 * 4 * 4 + 2 * 100 * 100 * 4,
    "up (ConvTranspose2d)": PIXELS // 4 * 4 * 3 * 16,
}


def test_every_kind() -> None:
    found: dict[str, int] = {}
    for each in count(Every().eval()):
        # How attention is computed is torch's choice, and a fused product or two matrix products are the same work.
        name = str(each)
        found[name] = found.get(name, 0) + each.multiply_adds
    expected = dict(EXPECTED)
    attention = "attention in the network itself"
    if attention not in found:
        expected["matmul in the network itself"] += expected.pop(attention)
    assert found == expected


def test_imdn() -> None:
    """Two blocks of 8 features, of which 2 are distilled: the convolutions' weights, times their pixels."""
    net = architectures()["imdn"].build(scale=2, blocks=2, features=8, distilled=2, squeezed=2)
    block = 9 * 8 * 8 + 2 * 9 * 6 * 8 + 9 * 6 * 2 + 8 * 8  # c1; c2 and c3; c4; c5
    per_pixel = 9 * 3 * 8 + 2 * block + 16 * 8 + 9 * 8 * 8 + 9 * 8 * 12
    pooled = 2 * 2 * 8 * 2  # the two layers of contrast-aware attention, of either block
    assert sum(each.multiply_adds for each in count(net.eval())) == per_pixel * PIXELS + pooled


def test_shares() -> None:
    work = [
        Work("a", "", "Conv2d", 60),
        Work("b", "", "Conv2d", 30),
        Work("c", "matmul", "C", 4),
        Work("", "x", "N", 6),
    ]
    found = shares(work, ["a"], ["b", "unused"])
    assert (found.inside, found.outside, found.full) == pytest.approx((0.6, 0.3, 0.1))
    assert found.layers == {"a": 0.6, "b": 0.3}
    assert [str(each) for each, _ in found.rest] == ["x in the network itself", "matmul in c"]
    assert found.bit_operations == 1
    in_bits = shares(work, ["a"], ["b"], {"a": 4 * 4, "b": 8 * 32})
    assert in_bits.bit_operations == pytest.approx((60 * 16 + 30 * 256 + 10 * 1024) / 102400)


def test_of_a_model_before_and_after(small_model: dfsq.SRModel) -> None:
    before = of_model(small_model)
    body = 4 * 9 * 8 * 8
    # Head, closing convolution, upsampler; the last one and the second shift of colours at twice the size.
    others = 9 * 3 * 8 + 9 * 8 * 8 + 9 * 8 * 32 + 4 * 9 * 8 * 3 + 9 + 4 * 9
    assert before.inside == pytest.approx(body / (body + others))
    quantized = calibration.quantize(small_model, [torch.rand(1, 3, 16, 16)], OnePass(outside_bits=None))
    after = of_model(quantized)
    assert after.inside == before.inside
    assert after.outside == 0
    weights = body / sum(each.numel() for each in small_model.parameters())
    assert before.parameters[0] == pytest.approx(weights)
    assert after.parameters == pytest.approx((weights, 0))
    assert before.bit_operations == 1
    assert after.bit_operations == pytest.approx(1 - after.inside * (1 - 4 * 4 / 1024))
    assert "head.0 (Conv2d)" in [str(each) for each, _ in after.rest]
    assert not any(net._forward_hooks or net._forward_pre_hooks for net in quantized.modules())


@pytest.mark.parametrize(
    ("name", "configuration", "outside"),
    [
        ("edsr", {"blocks": 1, "features": 8, "residual_scale": 1.0}, {"body.0.body.0"}),
        ("rdn", {"blocks": 1, "convs": 2, "features": 8, "growth": 8}, {"GFF.1"}),
    ],
)
def test_layers_behind_quantized_places_read_quantized_values(
    with_bounds: Callable[[SRModel, bool], SRModel], name: str, configuration: dict[str, Any], outside: set[str]
) -> None:
    net = architectures()[name].build(scale=2, **configuration)
    model = networks.from_state(net.state_dict())
    found = of_model(with_bounds(model, True))
    assert {each.kind for each, _ in found.rest} == {"Conv2d"}  # gates are not counted
    assert found.layers.keys() == {*model.body}
    assert found.outside == pytest.approx(sum(found.layers[each] for each in outside))
    assert found.bit_operations < 1 - found.inside * 0.9  # at 2 bits, with the inputs of those behind places
