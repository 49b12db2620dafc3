"""PAN: pixel attention network (Zhao et al., ECCVW 2020, §3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfsq.networks.architecture import Architecture, Dialect, Hyperparameters, State, count, image_channels
from dfsq.networks.blocks import conv, upsampling_steps

SLOPE = 0.2
"""Negative slope of the leaky ReLUs."""


class PixelAttention(nn.Module):
    """Weighs every value by 0–1, computed by a 1×1 convolution (§3.2)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv = conv(features, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to the same shape."""
        return x * torch.sigmoid(self.conv(x))


class PixelAttentionConv(nn.Module):
    """Two convolutions with pixel attention between them."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.k2 = conv(features, features, 1)
        self.k3 = conv(features, features, bias=False)
        self.k4 = conv(features, features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to the same shape."""
        output: Tensor = self.k4(self.k3(x) * torch.sigmoid(self.k2(x)))
        return output


class SelfCalibratedBlock(nn.Module):
    """Two branches of half the channels, one with pixel attention, fused and added to the input (§3.3)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        half = features // 2
        self.conv1_a = conv(features, half, 1, bias=False)
        self.conv1_b = conv(features, half, 1, bias=False)
        self.k1 = nn.Sequential(conv(half, half, bias=False))
        self.PAConv = PixelAttentionConv(half)
        self.conv3 = conv(2 * half, features, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to the same shape."""
        plain = F.leaky_relu(self.k1(F.leaky_relu(self.conv1_a(x), SLOPE)), SLOPE)
        attended = F.leaky_relu(self.PAConv(F.leaky_relu(self.conv1_b(x), SLOPE)), SLOPE)
        residual: Tensor = self.conv3(torch.cat((plain, attended), dim=1))
        return x + residual


class PAN(nn.Module):
    """PAN under its authors' parameter names; input and output in 0–1."""

    def __init__(self, scale: int, blocks: int, features: int, upsampled: int, channels: int = 3) -> None:
        super().__init__()
        self.scale = scale
        self.steps = upsampling_steps(scale)
        self.conv_first = conv(channels, features)
        self.SCPA_trunk = nn.Sequential(*(SelfCalibratedBlock(features) for _ in range(blocks)))
        self.trunk_conv = conv(features, features)
        inputs = features
        for number in range(1, len(self.steps) + 1):
            self.add_module(f"upconv{number}", conv(inputs, upsampled))
            self.add_module(f"att{number}", PixelAttention(upsampled))
            self.add_module(f"HRconv{number}", conv(upsampled, upsampled))
            inputs = upsampled
        self.conv_last = conv(upsampled, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, channels, H, W)``; the network adds to a bilinear interpolation."""
        maps = self.conv_first(x)
        maps = maps + self.trunk_conv(self.SCPA_trunk(maps))
        for number, step in enumerate(self.steps, start=1):
            maps = F.interpolate(maps, scale_factor=step, mode="nearest")
            maps = self.get_submodule(f"upconv{number}")(maps)
            maps = F.leaky_relu(self.get_submodule(f"att{number}")(maps), SLOPE)
            maps = F.leaky_relu(self.get_submodule(f"HRconv{number}")(maps), SLOPE)
        residual: Tensor = self.conv_last(maps)
        return residual + F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)


def _hidden(state: State) -> Mapping[str, tuple[Any, ...]]:
    """×2 and ×3 interpolate by different factors before the same layers."""
    return {} if "upconv2.weight" in state else {"scale": (2, 3)}


def _hyperparameters(state: State, scale: int | None) -> Hyperparameters:
    one_step = 3 if scale == 3 else 2
    return {
        "scale": 4 if "upconv2.weight" in state else one_step,
        "blocks": count(state, "SCPA_trunk.{}."),
        "features": state["conv_first.weight"].shape[0],
        "upsampled": state["upconv1.weight"].shape[0],
        "channels": image_channels(state["conv_first.weight"].shape[1]),
    }


ARCHITECTURE = Architecture(
    name="pan",
    title="PAN (Zhao et al. 2020)",
    dialects=(
        Dialect(
            keys=(
                "conv_first.weight",
                "SCPA_trunk.0.conv1_a.weight",
                "SCPA_trunk.0.PAConv.k2.weight",
                "trunk_conv.weight",
                "upconv1.weight",
                "att1.conv.weight",
                "conv_last.weight",
            )
        ),
    ),
    hyperparameters=_hyperparameters,
    build=PAN,
    hidden=_hidden,
)
