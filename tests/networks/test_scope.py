"""Body scope against lists written by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfsq.networks import architectures
from dfsq.networks.scope import body_scope


def names(text: str, *numbers: int) -> list[str]:
    """Every word of ``text`` for each number in place of ``#``."""
    return [word.replace("#", str(number)) for number in numbers for word in text.split()]


EXPECTED: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "edsr",
        {"scale": 4, "blocks": 2, "features": 8, "residual_scale": 1.0},
        names("body.#.body.0 body.#.body.2", 0, 1),
    ),
    (
        "srresnet",
        {"scale": 4, "blocks": 2, "features": 8, "bias": False},
        names("residual.#.conv1 residual.#.conv2", 0, 1),
    ),
    ("msrresnet", {"scale": 4, "blocks": 2, "features": 8}, names("body.#.conv1 body.#.conv2", 0, 1)),
    (
        "rdn",
        {"scale": 4, "blocks": 2, "convs": 2, "features": 8, "growth": 4},
        [*names("RDBs.#.convs.0.conv.0 RDBs.#.convs.1.conv.0 RDBs.#.LFF", 0, 1), "GFF.0", "GFF.1"],
    ),
    (
        "rrdb",
        {"scale": 2, "blocks": 1, "features": 8, "growth": 4, "unshuffle": 2},
        names("body.0.rdb#.conv1 body.0.rdb#.conv2 body.0.rdb#.conv3 body.0.rdb#.conv4 body.0.rdb#.conv5", 1, 2, 3),
    ),
    (
        "imdn",
        {"scale": 2, "blocks": 2, "features": 8, "distilled": 2, "squeezed": 2},
        [*names("IMDB#.c1 IMDB#.c2 IMDB#.c3 IMDB#.c4 IMDB#.c5", 1, 2), "c.0", "LR_conv"],
    ),
    (
        "rfdn",
        {"scale": 4, "blocks": 2, "features": 8, "distilled": 4, "attention": 2},
        [
            *names("B#.c1_d B#.c1_r B#.c2_d B#.c2_r B#.c3_d B#.c3_r B#.c4 B#.c5", 1, 2),
            *names("B#.esa.conv1 B#.esa.conv_f B#.esa.conv_max B#.esa.conv2", 1, 2),
            *names("B#.esa.conv3 B#.esa.conv3_ B#.esa.conv4", 1, 2),
            "c.0",
            "LR_conv",
        ],
    ),
    (
        "rlfn",
        {"scale": 2, "blocks": 2, "features": 8, "middle": 8, "attention": 4},
        [
            *names("block_#.c1_r block_#.c2_r block_#.c3_r block_#.c5", 1, 2),
            *names("block_#.esa.conv1 block_#.esa.conv_f block_#.esa.conv2 block_#.esa.conv3 block_#.esa.conv4", 1, 2),
            "conv_2",
        ],
    ),
    ("espcn", {"scale": 2, "widths": [8, 8, 6], "activation": "relu", "channels": 1}, ["conv2", "conv3"]),
    ("srcnn", {"scale": 3, "widths": [8, 6], "kernels": [9, 5, 5], "channels": 1}, ["conv2"]),
    (
        "fsrcnn",
        {"scale": 3, "features": 8, "shrunken": 4, "mappings": 2, "channels": 1},
        names("mid_part.#", 0, 2, 4, 6),
    ),
    (
        "vdsr",
        {"scale": 2, "layers": 3, "features": 8, "bias": False, "channels": 1},
        names("residual_layer.#.conv", 0, 1, 2),
    ),
    (
        "imdn",
        {"scale": 2, "blocks": 2, "features": 8, "distilled": 2, "squeezed": 0, "channels": 1},
        [*names("IMDB#.c1 IMDB#.c2 IMDB#.c3 IMDB#.c4 IMDB#.c5", 1, 2), "LR_conv"],
    ),
    *(
        (
            "pan",
            {"scale": scale, "blocks": 2, "features": 8, "upsampled": 4},
            [
                *names("SCPA_trunk.#.conv1_a SCPA_trunk.#.conv1_b SCPA_trunk.#.k1.0 SCPA_trunk.#.conv3", 0, 1),
                *names("SCPA_trunk.#.PAConv.k2 SCPA_trunk.#.PAConv.k3 SCPA_trunk.#.PAConv.k4", 0, 1),
                "trunk_conv",
            ],
        )
        for scale in (2, 4)
    ),
    *(
        (
            "carn",
            {"scale": scale, "features": 8, "mobile": True, "groups": 2},
            [
                *names("b#.b1.body.0 b#.b1.body.2 b#.b1.body.4 b#.c1.body.0 b#.c2.body.0 b#.c3.body.0", 1, 2, 3),
                *names("c#.body.0", 1, 2, 3),
            ],
        )
        for scale in (3, 4)
    ),
]


@pytest.mark.parametrize(("name", "configuration", "expected"), EXPECTED)
def test_body_scope(name: str, configuration: dict[str, Any], expected: list[str]) -> None:
    architecture = architectures()[name]
    net = architecture.build(**configuration).eval()
    scope = body_scope(net, architecture.body, configuration.get("channels", 3))
    assert sorted(scope) == sorted(expected)


class Mixed(nn.Module):
    """One layer of every kind that the rule decides about."""

    def __init__(self) -> None:
        super().__init__()
        self.colour = nn.Conv2d(3, 3, 1)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.inside = nn.Conv2d(8, 8, 3, padding=4)  # grows the map, but does not upsample it
        self.token = nn.Linear(8, 8)
        self.position = nn.Linear(2, 8)
        self.squeeze = nn.Conv2d(8, 8, 1)
        self.gate = nn.Linear(8, 8)
        self.up = nn.Conv2d(8, 32, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.large = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 3, 3, padding=1)
        self.unused = nn.Conv2d(8, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inside(self.first(self.colour(x)))
        x = self.token(x.movedim(1, -1)).movedim(-1, 1)
        x = x + self.position(torch.ones(5, 2)).mean(0).view(1, -1, 1, 1)
        x = x * self.squeeze(x.mean((2, 3), keepdim=True))
        x = x * self.gate(x.mean((2, 3)))[..., None, None]
        return self.last(self.large(self.shuffle(self.up(x))))


def test_rule_by_layer_kind() -> None:
    assert body_scope(Mixed().eval(), None) == ("inside", "token")


def test_probing_leaves_no_trace() -> None:
    net = Mixed().eval()
    body_scope(net, None)
    assert not any(layer._forward_hooks for layer in net.modules())
    net(torch.rand(1, 3, 8, 8)).mean().backward()
    assert net.first.weight.grad is not None
