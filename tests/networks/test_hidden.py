"""What an architecture knows about a checkpoint beyond its shapes: hidden hyper-parameters, heads, a stated range."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from dfsq.errors import CheckpointError, UsageError
from dfsq.networks import architectures, from_state

SMALL: dict[str, dict[str, Any]] = {
    "edsr": {"scale": 2, "blocks": 2, "features": 8, "residual_scale": 1.0},
    "srresnet": {"scale": 2, "blocks": 2, "features": 8, "bias": True},
    "msrresnet": {"scale": 2, "blocks": 2, "features": 8},
    "rdn": {"scale": 2, "blocks": 2, "convs": 2, "features": 8, "growth": 4},
    "imdn": {"scale": 2, "blocks": 2, "features": 16, "distilled": 4, "squeezed": 2},
    "rfdn": {"scale": 2, "blocks": 2, "features": 12, "distilled": 6, "attention": 3},
    "rlfn": {"scale": 2, "blocks": 2, "features": 8, "middle": 8, "attention": 4},
    "pan": {"scale": 2, "blocks": 2, "features": 8, "upsampled": 6},
    "carn": {"scale": 2, "features": 8, "mobile": True, "groups": 4},
    "rrdb": {"scale": 2, "blocks": 1, "features": 8, "growth": 4, "unshuffle": 1},
    "espcn": {"scale": 2, "widths": [8, 6], "activation": "tanh"},
    "fsrcnn": {"scale": 2, "features": 8, "shrunken": 4, "mappings": 2},
    "srcnn": {"scale": 2, "widths": [8, 6], "kernels": [9, 5, 5]},
    "vdsr": {"scale": 2, "layers": 2, "features": 8, "bias": False},
    "swinir": {
        **{"scale": 2, "features": 8, "depths": [2], "heads": [2], "window": 4, "hidden": 8},
        "upsampler": "pixelshuffledirect",
    },
}
PRE_UPSAMPLING = {"scale": (2, 3, 4)}
HIDDEN: list[tuple[str, dict[str, Any], dict[str, tuple[Any, ...]]]] = [
    ("edsr", {}, {"residual_scale": (1.0, 0.1)}),
    ("edsr", {"features": 256, "blocks": 1}, {"residual_scale": (0.1, 1.0)}),
    ("pan", {}, {"scale": (2, 3)}),
    ("pan", {"scale": 4}, {}),
    ("rrdb", {}, {"scale": (2, 3)}),
    ("rrdb", {"scale": 4}, {}),
    ("rrdb", {"scale": 1, "unshuffle": 2}, {}),
    ("espcn", {}, {"activation": ("tanh", "relu")}),
    ("espcn", {"widths": [8, 8, 6]}, {"activation": ("relu", "tanh")}),
    *((name, {}, PRE_UPSAMPLING) for name in ("fsrcnn", "srcnn", "vdsr")),
    *((name, {}, {}) for name in ("srresnet", "msrresnet", "rdn", "imdn", "rfdn", "rlfn", "carn", "swinir")),
]


def state_of(name: str, **changes: Any) -> dict[str, Tensor]:
    return architectures()[name].build(**{**SMALL[name], **changes}).state_dict()


def test_the_table_is_complete() -> None:
    assert {name for name, _, _ in HIDDEN} == architectures().keys()


@pytest.mark.parametrize(("name", "changes", "hidden"), HIDDEN)
def test_every_value_gives_another_network_of_the_same_shapes(
    name: str, changes: dict[str, Any], hidden: dict[str, tuple[Any, ...]]
) -> None:
    architecture, state = architectures()[name], state_of(name, **changes)
    assert architecture.hidden(state) == hidden
    assumed = architecture.hyperparameters(state, None)
    image = torch.rand(1, 3, 12, 14)
    for key, values in hidden.items():
        assert values[0] == assumed[key]
        results = []
        for value in values:
            net = architecture.build(**{**assumed, key: value}).eval()
            net.load_state_dict(state)
            with torch.no_grad():
                results.append(net(image))
        for one, another in combinations(results, 2):
            assert one.shape != another.shape or not torch.allclose(one, another)


@pytest.mark.parametrize("name", ["pan", "rrdb", "fsrcnn", "srcnn", "vdsr"])
def test_a_scale_that_shapes_hide_can_be_asked_for(name: str) -> None:
    assert from_state(state_of(name), scale=3)(torch.rand(1, 3, 12, 14)).shape == (1, 3, 36, 42)
    with pytest.raises(UsageError, match="`scale` 7, but this .*upscales by 2"):
        from_state(state_of(name), scale=7)


def test_heads_of_a_file_for_several_scales() -> None:
    heads = architectures()["carn"].heads
    assert heads(state_of("carn")) == ()
    assert heads({**state_of("carn", scale=4), **state_of("carn", scale=2)}) == (2, 4)


@pytest.mark.parametrize("rgb_range", [1.0, 255.0])
@pytest.mark.parametrize("deviation", [(1.0, 1.0, 1.0), (0.229, 0.224, 0.225)])
@pytest.mark.parametrize(("name", "shift"), [("edsr", "sub_mean"), ("carn", "sub_mean.shifter")])
def test_range_from_the_mean_colour(name: str, shift: str, deviation: tuple[float, ...], rgb_range: float) -> None:
    stated_range, state = architectures()[name].stated_range, state_of(name)
    spread = torch.tensor(deviation)
    state[f"{shift}.weight"] = torch.eye(3).view(3, 3, 1, 1) / spread.view(3, 1, 1, 1)
    state[f"{shift}.bias"] = -rgb_range * torch.tensor((0.4488, 0.4371, 0.4040)) / spread
    assert stated_range(state) == rgb_range
    state[f"{shift}.bias"] = torch.zeros(3)
    assert stated_range(state) is None


@pytest.mark.parametrize("name", sorted(architectures()))
def test_networks_of_other_channels_are_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"takes 4 channels; only 3 \(RGB\) and 1 \(luminance\) are supported"):
        from_state(state_of(name, channels=4))
