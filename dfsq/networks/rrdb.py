"""RRDBNet: ESRGAN and Real-ESRGAN (Wang et al., ECCVW 2018, §3.1, and ICCVW 2021, §4.1)."""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfsq.networks.architecture import Architecture, Dialect, Hyperparameters, State, count, rename_keys
from dfsq.networks.blocks import conv, pad_to_multiple

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

    def __init__(self, scale: int, blocks: int, features: int, growth: int, unshuffle: int) -> None:
        super().__init__()
        self.scale = scale
        self.unshuffle = unshuffle
        self.upsamplings = (scale * unshuffle).bit_length() - 1
        self.conv_first = conv(3 * unshuffle * unshuffle, features)
        self.body = nn.Sequential(*(ResidualBlock(features, growth) for _ in range(blocks)))
        self.conv_body = conv(features, features)
        for number in range(1, self.upsamplings + 1):
            self.add_module(f"conv_up{number}", conv(features, features))
        self.conv_hr = conv(features, features)
        self.conv_last = conv(features, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, 3, H, W)``."""
        height, width = x.shape[-2:]
        folded = F.pixel_unshuffle(pad_to_multiple(x, self.unshuffle), self.unshuffle)
        maps = self.conv_first(folded)
        maps = maps + self.conv_body(self.body(maps))
        for number in range(1, self.upsamplings + 1):
            maps = F.interpolate(maps, scale_factor=2, mode="nearest")
            maps = F.leaky_relu(self.get_submodule(f"conv_up{number}")(maps), SLOPE)
        output: Tensor = self.conv_last(F.leaky_relu(self.conv_hr(maps), SLOPE))
        return output[..., : height * self.scale, : width * self.scale]


def _hyperparameters(state: State, _scale: int | None) -> Hyperparameters:
    unshuffle = isqrt(state["conv_first.weight"].shape[1] // 3)
    return {
        "scale": 2 ** count(state, "conv_up{}.weight") // unshuffle,
        "blocks": count(state, "body.{}.rdb"),
        "features": state["conv_first.weight"].shape[0],
        "growth": state["body.0.rdb1.conv1.weight"].shape[0],
        "unshuffle": unshuffle,
    }


def _from_sequential(state: State) -> State:
    """The first ESRGAN is one numbered sequence: first, trunk, upsamplings, and the two last convolutions."""
    blocks = count(state, "model.1.sub.{}.RDB")
    numbers = sorted({int(key.split(".")[1]) for key in state})
    *upsamplings, before_last, last = numbers[2:]
    return rename_keys(
        state,
        (r"^model\.1\.sub\.(\d+)\.RDB(\d)\.(conv\d)\.0\.", r"body.\1.rdb\2.\3."),
        (rf"^model\.1\.sub\.{blocks}\.", "conv_body."),
        (r"^model\.0\.", "conv_first."),
        *((rf"^model\.{index}\.", f"conv_up{number}.") for number, index in enumerate(upsamplings, start=1)),
        (rf"^model\.{before_last}\.", "conv_hr."),
        (rf"^model\.{last}\.", "conv_last."),
    )


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
    body=("body.*.rdb?.conv?",),
)
