"""RRDBNet: ESRGAN and Real-ESRGAN (Wang et al., ECCVW 2018, §3.1, and ICCVW 2021, §4.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfsq.networks.architecture import Architecture, Dialect, Hyperparameters, State, count, image_channels, rename_keys
from dfsq.networks.blocks import conv, fold_normalization, pad_to_multiple

SLOPE = 0.2
"""Negative slope of the leaky ReLUs."""
RESIDUAL_SCALE = 0.2
"""Factor of every residual before it is added."""


class DenseBlock(nn.Module):
    """Five convolutions, each seeing the outputs of all before it, scaled and added to the input."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        for index in range(5):
            self.add_module(f"conv{index + 1}", conv(features + index * growth, features if index == 4 else growth))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to the same shape."""
        collected = x
        for number in range(1, 5):
            grown = F.leaky_relu(self.get_submodule(f"conv{number}")(collected), SLOPE)
            collected = torch.cat((collected, grown), dim=1)
        residual: Tensor = self.get_submodule("conv5")(collected)
        return x + residual * RESIDUAL_SCALE


class ResidualBlock(nn.Module):
    """Three dense blocks, scaled and added to the input."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(features, growth)
        self.rdb2 = DenseBlock(features, growth)
        self.rdb3 = DenseBlock(features, growth)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to the same shape."""
        residual: Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return x + residual * RESIDUAL_SCALE


class RRDBNet(nn.Module):
    """RRDBNet under BasicSR's parameter names; input and output in 0–1.

    ``unshuffle`` 2 or 4 is Real-ESRGAN's way to ×2 and ×1: the input is folded into channels by that factor
    and upscaled from there. Heights and widths that it does not divide are padded.
    """

    def __init__(self, scale: int, blocks: int, features: int, growth: int, unshuffle: int, channels: int = 3) -> None:
        super().__init__()
        self.scale = scale
        self.unshuffle = unshuffle
        self.steps = [3] if scale == 3 else [2] * ((scale * unshuffle).bit_length() - 1)
        self.conv_first = conv(channels * unshuffle * unshuffle, features)
        self.body = nn.Sequential(*(ResidualBlock(features, growth) for _ in range(blocks)))
        self.conv_body = conv(features, features)
        for number in range(1, len(self.steps) + 1):
            self.add_module(f"conv_up{number}", conv(features, features))
        self.conv_hr = conv(features, features)
        self.conv_last = conv(features, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, channels, H, W)``."""
        height, width = x.shape[-2:]
        folded = F.pixel_unshuffle(pad_to_multiple(x, self.unshuffle), self.unshuffle)
        maps = self.conv_first(folded)
        maps = maps + self.conv_body(self.body(maps))
        for number, step in enumerate(self.steps, start=1):
            maps = F.interpolate(maps, scale_factor=step, mode="nearest")
            maps = F.leaky_relu(self.get_submodule(f"conv_up{number}")(maps), SLOPE)
        output: Tensor = self.conv_last(F.leaky_relu(self.conv_hr(maps), SLOPE))
        return output[..., : height * self.scale, : width * self.scale]


def _unshuffle(state: State) -> int:
    return isqrt(state["conv_first.weight"].shape[1] // state["conv_last.weight"].shape[0])


def _hidden(state: State) -> Mapping[str, tuple[Any, ...]]:
    """The first ESRGAN code interpolates by 3 before the one convolution that follows interpolation by 2 for ×2."""
    one_step = count(state, "conv_up{}.weight") == 1 and _unshuffle(state) == 1
    return {"scale": (2, 3)} if one_step else {}


def _hyperparameters(state: State, scale: int | None) -> Hyperparameters:
    unshuffle = _unshuffle(state)
    shown = 2 ** count(state, "conv_up{}.weight") // unshuffle
    return {
        "scale": 3 if scale == 3 and _hidden(state) else shown,
        "blocks": count(state, "body.{}.rdb"),
        "features": state["conv_first.weight"].shape[0],
        "growth": state["body.0.rdb1.conv1.weight"].shape[0],
        "unshuffle": unshuffle,
        "channels": image_channels(state["conv_last.weight"].shape[0]),
    }


def _from_sequential(state: State) -> State:
    """The first ESRGAN is one numbered sequence: first, trunk, upsamplings, and the two last convolutions.

    Batch normalization, where there is any, follows a convolution as the next number.
    """
    state = _without_normalization(state)
    blocks = count(state, "model.1.sub.{}.RDB")
    numbers = sorted({int(match[1]) for key in state if (match := re.match(r"model\.(\d{1,9})\.", key))})
    upsamplings, before_last, last = numbers[2:-2], numbers[-2], numbers[-1]
    return rename_keys(
        state,
        (r"^model\.1\.sub\.(\d+)\.RDB(\d)\.(conv\d)\.0\.", r"body.\1.rdb\2.\3."),
        (rf"^model\.1\.sub\.{blocks}\.", "conv_body."),
        (r"^model\.0\.", "conv_first."),
        *((rf"^model\.{index}\.", f"conv_up{number}.") for number, index in enumerate(upsamplings, start=1)),
        (rf"^model\.{before_last}\.", "conv_hr."),
        (rf"^model\.{last}\.", "conv_last."),
    )


def _without_normalization(state: State) -> State:
    """Fold every batch normalization into the convolution that it follows."""
    folded = dict(state)
    for match in (re.fullmatch(r"(.*)\.(\d{1,9})\.running_mean", key) for key in state):
        if match:
            norm, before = f"{match[1]}.{match[2]}", f"{match[1]}.{int(match[2]) - 1}"
            folded.update(fold_normalization(state, before, norm))
            for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
                folded.pop(f"{norm}.{name}", None)
    return folded


def _from_trunk(state: State) -> State:
    """ESRGAN's second spelling, that of MMSR and BSRGAN."""
    return rename_keys(
        state,
        (r"^RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2."),
        (r"^trunk_conv\.", "conv_body."),
        (r"^upconv(\d)\.", r"conv_up\1."),
        (r"^HRconv\.", "conv_hr."),
    )


ARCHITECTURE = Architecture(
    name="rrdb",
    title="ESRGAN / RRDBNet (Wang et al. 2018)",
    dialects=(
        Dialect(
            keys=(
                "conv_first.weight",
                "body.0.rdb1.conv1.weight",
                "conv_body.weight",
                "conv_hr.weight",
                "conv_last.weight",
            )
        ),
        Dialect(
            keys=(
                "conv_first.weight",
                "RRDB_trunk.0.RDB1.conv1.weight",
                "trunk_conv.weight",
                "HRconv.weight",
                "conv_last.weight",
            ),
            rename=_from_trunk,
        ),
        Dialect(
            keys=("model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight", "model.1.sub.0.RDB3.conv5.0.weight"),
            absent=("model.1.sub.0.RDB1.conv1x1.weight",),  # ESRGAN+, another network
            rename=_from_sequential,
        ),
    ),
    hyperparameters=_hyperparameters,
    build=RRDBNet,
    hidden=_hidden,
    body=("body.*.rdb?.conv?",),
)
