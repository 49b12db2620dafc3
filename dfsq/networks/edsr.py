"""EDSR, baseline and large (Lim et al., CVPRW 2017, §3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dfsq.networks.architecture import Architecture, Dialect, Hyperparameters, State, count, image_channels, rename_keys
from dfsq.networks.blocks import conv, mean_shift, mean_shift_range, pixel_shuffle_scale, pixel_shuffle_upsampler
from dfsq.nn import Place

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean colour of DIV2K in 0–1, which BasicSR keeps outside its checkpoints."""


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, scaled and added to the input."""

    def __init__(self, features: int, residual_scale: float) -> None:
        super().__init__()
        self.skip = Place(features)
        self.body = nn.Sequential(conv(features, features), nn.ReLU(), conv(features, features))
        self.residual_scale = residual_scale
        self.output = Place(features)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to the same shape."""
        residual: Tensor = self.output(self.body(x) * self.residual_scale)
        shortcut: Tensor = self.skip(x)
        return shortcut + residual


class EDSR(nn.Module):
    """EDSR under the parameter names of EDSR-PyTorch; input and output in 0–255."""

    def __init__(self, scale: int, blocks: int, features: int, residual_scale: float, channels: int = 3) -> None:
        super().__init__()
        self.sub_mean = mean_shift(channels)
        self.head = nn.Sequential(conv(channels, features))
        self.body = nn.Sequential(
            *(ResidualBlock(features, residual_scale) for _ in range(blocks)), conv(features, features)
        )
        self.tail = nn.Sequential(nn.Sequential(*pixel_shuffle_upsampler(features, scale)), conv(features, channels))
        self.add_mean = mean_shift(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, channels, H, W)``."""
        shallow = self.head(self.sub_mean(x))
        output: Tensor = self.add_mean(self.tail(shallow + self.body(shallow)))
        return output


def _hidden(state: State) -> Mapping[str, tuple[Any, ...]]:
    """The large configuration (256 features) is trained with residual scale 0.1 (§3.3), the baseline without."""
    return {"residual_scale": (0.1, 1.0) if state["head.0.weight"].shape[0] >= 256 else (1.0, 0.1)}


def _hyperparameters(state: State, _scale: int | None) -> Hyperparameters:
    features = state["head.0.weight"].shape[0]
    return {
        "scale": pixel_shuffle_scale(state, "tail.0.{}.weight", features),
        "blocks": count(state, "body.{}.body."),
        "features": features,
        "residual_scale": _hidden(state)["residual_scale"][0],
        "channels": image_channels(state["head.0.weight"].shape[1]),
    }


def _from_basicsr(state: State) -> State:
    """Rename BasicSR's EDSR, which works in 0–1 and subtracts the mean itself, to EDSR-PyTorch's names.

    MMEditing's differs in the upsampler, whose convolutions it counts without the shuffles between them.
    """
    blocks = count(state, "body.{}.conv")
    renamed = rename_keys(
        state,
        (r"^conv_first\.", "head.0."),
        (r"^body\.(\d+)\.conv1\.", r"body.\1.body.0."),
        (r"^body\.(\d+)\.conv2\.", r"body.\1.body.2."),
        (r"^conv_after_body\.", f"body.{blocks}."),
        *((rf"^upsample\.{index}\.upsample_conv\.", f"tail.0.{2 * index}.") for index in range(3)),
        (r"^upsample\.", "tail.0."),
        (r"^conv_last\.", "tail.1."),
    )
    colours = state["conv_first.weight"].shape[1] == 3
    return {**renamed, **_mean_shifts(torch.tensor(DIV2K_MEAN) if colours else torch.tensor([sum(DIV2K_MEAN) / 3]))}


def _from_luminance(state: State) -> State:
    """EDSR-PyTorch's mean shifts take three channels; who trains on one leaves them out."""
    return {**state, **_mean_shifts(torch.zeros(1))}


def _mean_shifts(mean: Tensor) -> State:
    """What subtracts and adds ``mean``, in 0–1, in the range of 0–255."""
    shifts = {}
    for name, sign in (("sub_mean", -1.0), ("add_mean", 1.0)):
        shifts[f"{name}.weight"] = torch.eye(len(mean)).view(len(mean), len(mean), 1, 1)
        shifts[f"{name}.bias"] = sign * 255.0 * mean
    return shifts


ARCHITECTURE = Architecture(
    name="edsr",
    title="EDSR (Lim et al. 2017)",
    dialects=(
        Dialect(
            keys=(
                "sub_mean.weight",
                "head.0.weight",
                "body.0.body.0.weight",
                "tail.0.0.weight",
                "tail.1.weight",
            )
        ),
        Dialect(
            keys=("head.0.weight", "body.0.body.0.weight", "tail.0.0.weight", "tail.1.weight"),
            absent=("sub_mean.weight",),
            rename=_from_luminance,
            fits=lambda state: state["head.0.weight"].shape[1:2] == (1,),
        ),
        Dialect(
            keys=("conv_first.weight", "body.0.conv1.weight", "conv_after_body.weight", "upsample.0.weight"),
            absent=("body.0.norm1.weight",),
            rename=_from_basicsr,
        ),
        Dialect(
            keys=(
                "conv_first.weight",
                "body.0.conv1.weight",
                "conv_after_body.weight",
                "upsample.0.upsample_conv.weight",
            ),
            rename=_from_basicsr,
        ),
    ),
    hyperparameters=_hyperparameters,
    build=EDSR,
    rgb_range=255.0,
    body=("body.*.body.0", "body.*.body.2"),
    hidden=_hidden,
    stated_range=lambda state: mean_shift_range(state, "sub_mean"),
)
