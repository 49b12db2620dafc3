"""What a user sees when a checkpoint does not fit."""

from __future__ import annotations

import re
import sys

import pytest
import torch
from torch import Tensor

from dfsq.errors import CheckpointError, UsageError
from dfsq.networks import architectures, build, from_state

State = dict[str, Tensor]


@pytest.fixture
def state() -> State:
    torch.manual_seed(0)
    return architectures()["imdn"].build(scale=2, blocks=2, features=16, distilled=4, squeezed=2).state_dict()


def test_missing_unexpected_and_misshapen_keys_are_named(state: State) -> None:
    del state["IMDB2.c5.bias"]
    state["extra"] = torch.zeros(1)
    state["LR_conv.bias"] = torch.zeros(7)
    with pytest.raises(CheckpointError) as caught:
        from_state(state)
    message = str(caught.value)
    assert "missing: IMDB2.c5.bias;" in message
    assert "unexpected: extra;" in message
    assert "misshapen: LR_conv.bias (7,) instead of (16,)" in message


def test_long_lists_are_cut(state: State) -> None:
    extra = {f"extra.{index}": torch.zeros(1) for index in range(9)}
    with pytest.raises(CheckpointError, match=re.escape("extra.3 and 5 more")):
        from_state({**state, **extra})


def test_unknown_architecture_names_the_closest(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    del state["IMDB1.cca.conv_du.0.weight"]
    with pytest.raises(CheckpointError, match=r"unknown architecture; tried carn, .*closest: imdn, 83%"):
        from_state(state)
    with pytest.raises(CheckpointError, match="no key name in common"):
        from_state({"something.else": torch.zeros(3)})


def test_architecture_by_name(state: State) -> None:
    assert from_state(state, arch="imdn").info.architecture == "imdn"
    with pytest.raises(UsageError, match="unknown architecture 'imnd'; known: carn, edsr, espcn"):
        from_state(state, arch="imnd")
    with pytest.raises(CheckpointError, match="no CARN .*lacks sub_mean.shifter.weight.*leave `arch` out"):
        from_state(state, arch="carn")


def test_refusal_names_what_should_not_be_there() -> None:
    torch.manual_seed(0)
    keys = architectures()["rrdb"].dialects[-1].keys
    plus = {key: torch.zeros(1) for key in (*keys, "model.1.sub.0.RDB1.conv1x1.weight")}
    with pytest.raises(CheckpointError, match="it has model.1.sub.0.RDB1.conv1x1.weight"):
        from_state(plus, arch="rrdb")


def test_scale_must_agree(state: State) -> None:
    assert from_state(state, scale=2).scale == 2
    with pytest.raises(UsageError, match=r"`scale` 3, but this IMDN .* upscales by 2"):
        from_state(state, scale=3)


def test_rgb_range_overrides(state: State) -> None:
    images = torch.rand(1, 3, 8, 8)
    unit, byte = from_state(state), from_state(state, rgb_range=255.0)
    assert (unit.info.rgb_range, byte.info.rgb_range) == (1.0, 255.0)
    with torch.no_grad():
        torch.testing.assert_close(byte(images) * 255, unit(images * 255), rtol=1e-4, atol=1e-3)


def test_descriptions_that_cannot_be_built(state: State) -> None:
    model = from_state(state)
    broken = type(model.info)("imdn", {"scale": 2, "colour": "red"}, 2, 1.0)
    with pytest.raises(CheckpointError, match="cannot build IMDN"):
        build(broken, state)
