"""CARN and CARN-M: cascading residual networks (Ahn et al., ECCV 2018, §3)."""

from __future__ import annotations

import re
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfsq.networks.architecture import (
    Architecture,
    Dialect,
    Hyperparameters,
    State,
    chosen_scale,
    image_channels,
    rename_keys,
)
from dfsq.networks.blocks import conv, mean_shift, mean_shift_range, upsampling_steps

BLOCKS = 3
"""Blocks of the network, and residual units of a block."""


class MeanShift(nn.Module):
    """Adds a constant to each colour."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shifter = mean_shift(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, channels, H, W)`` to the same shape."""
        output: Tensor = self.shifter(x)
        return output


class Fusion(nn.Module):
    """A 1×1 convolution and ReLU over everything that came before."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(inputs, outputs, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, inputs, H, W)`` to ``(N, outputs, H, W)``."""
        output: Tensor = self.body(x)
        return output


class ResidualUnit(nn.Module):
    """Two convolutions added to the input; in CARN-M they are grouped, with a 1×1 one after them (§3.3)."""

    def __init__(self, features: int, mobile: bool, groups: int) -> None:
        super().__init__()
        options = {"groups": groups if mobile else 1}
        layers = [conv(features, features, **options), nn.ReLU(), conv(features, features, **options)]
        self.body = nn.Sequential(*layers, *([nn.ReLU(), conv(features, features, 1)] if mobile else []))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to the same shape."""
        return F.relu(x + self.body(x))


class Cascade(nn.Module):
    """Three steps, each followed by a fusion of all outputs so far (§3.2)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        for number in range(1, BLOCKS + 1):
            self.add_module(f"c{number}", Fusion((number + 1) * features, features))

    def step(self, number: int) -> nn.Module:
        """The module of step ``number``, counted from 1."""
        return self.get_submodule(f"b{number}")

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to the same shape."""
        collected = output = x
        for number in range(1, BLOCKS + 1):
            collected = torch.cat((collected, self.step(number)(output)), dim=1)
            output = self.get_submodule(f"c{number}")(collected)
        return output


class CascadingBlock(Cascade):
    """A cascade of residual units; CARN-M uses one unit three times."""

    def __init__(self, features: int, mobile: bool, groups: int) -> None:
        super().__init__(features)
        self.mobile = mobile
        for number in range(1, 2 if mobile else BLOCKS + 1):
            self.add_module(f"b{number}", ResidualUnit(features, mobile, groups))

    def step(self, number: int) -> nn.Module:
        """The residual unit of step ``number``."""
        return super().step(1 if self.mobile else number)


class Head(nn.Module):
    """The upsampler for one scale: convolution, ReLU and pixel shuffle, twice for ×4."""

    def __init__(self, features: int, scale: int, groups: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for step in upsampling_steps(scale):
            layers += [
                conv(features, step * step * features, groups=groups),
                nn.ReLU(),
                nn.PixelShuffle(step),
            ]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to ``(N, features, scale·H, scale·W)``."""
        output: Tensor = self.body(x)
        return output


class CARN(Cascade):
    """CARN (``mobile`` False) or CARN-M with the head of one scale; input and output in 0–1."""

    def __init__(self, scale: int, features: int, mobile: bool, groups: int, channels: int = 3) -> None:
        super().__init__(features)
        self.sub_mean = MeanShift(channels)
        self.entry = conv(channels, features)
        for number in range(1, BLOCKS + 1):
            self.add_module(f"b{number}", CascadingBlock(features, mobile, groups))
        self.upsample = nn.ModuleDict({f"up{scale}": Head(features, scale, groups)})
        self.exit = conv(features, channels)
        self.add_mean = MeanShift(channels)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, channels, H, W)``."""
        maps = super().forward(self.entry(self.sub_mean(x)))
        maps = self.upsample[f"up{self.scale}"](maps)
        output: Tensor = self.add_mean(self.exit(maps))
        return output


def _scales(state: State) -> tuple[int, ...]:
    """Scales of the heads in the file, ascending."""
    matches = (re.match(r"upsample\.up(\d)\.body\.0\.weight$", key) for key in state)
    return tuple(sorted(int(match[1]) for match in matches if match))


def _heads(state: State) -> tuple[int, ...]:
    scales = _scales(state)
    return scales if len(scales) > 1 else ()


def _hyperparameters(state: State, scale: int | None) -> Hyperparameters:
    """One file holds the heads of several scales: without a choice the smallest is taken."""
    scale = chosen_scale(scale, _scales(state))
    features = state["entry.weight"].shape[0]
    return {
        "scale": scale,
        "features": features,
        "mobile": "b1.b1.body.4.weight" in state,
        "groups": features // state[f"upsample.up{scale}.body.0.weight"].shape[1],
        "channels": image_channels(state["entry.weight"].shape[1]),
    }


def _from_single_scale(state: State) -> State:
    """A network trained for one scale calls its head ``up``."""
    features = state["entry.weight"].shape[0]
    steps = [key for key in state if re.match(r"upsample\.up\.body\.\d+\.weight$", key)]
    scale = isqrt(state[steps[0]].shape[0] // features) ** len(steps)
    return rename_keys(state, (r"^upsample\.up\.", f"upsample.up{scale}."))


def _other_heads(hyperparameters: Hyperparameters) -> tuple[str, ...]:
    return tuple(f"upsample.up{scale}." for scale in (2, 3, 4) if scale != hyperparameters["scale"])


_TRUNK = (
    "sub_mean.shifter.weight",
    "entry.weight",
    "b1.b1.body.0.weight",
    "b1.c1.body.0.weight",
    "exit.weight",
)

ARCHITECTURE = Architecture(
    name="carn",
    title="CARN (Ahn et al. 2018)",
    dialects=(
        *(Dialect(keys=(*_TRUNK, f"upsample.up{scale}.body.0.weight")) for scale in (2, 3, 4)),
        Dialect(keys=(*_TRUNK, "upsample.up.body.0.weight"), rename=_from_single_scale),
    ),
    hyperparameters=_hyperparameters,
    build=CARN,
    heads=_heads,
    stated_range=lambda state: mean_shift_range(state, "sub_mean.shifter"),
    drop=_other_heads,
)
