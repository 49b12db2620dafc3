"""MSRResNet: SRResNet without batch normalization, a baseline of BasicSR (Wang et al., ECCVW 2018)."""

from __future__ import annotations

from math import isqrt

from torch import Tensor, nn
from torch.nn import functional as F

from dfsq.networks.architecture import Architecture, Dialect, Hyperparameters, State, count, image_channels, rename_keys
from dfsq.networks.blocks import conv, upsampling_steps

SLOPE = 0.1
"""Negative slope of the leaky ReLUs outside the residual blocks."""


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, added to the input."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = conv(features, features)
        self.conv2 = conv(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to the same shape."""
        residual: Tensor = self.conv2(F.relu(self.conv1(x)))
        return x + residual


class MSRResNet(nn.Module):
    """MSRResNet under BasicSR's parameter names; input and output in 0–1."""

    def __init__(self, scale: int, blocks: int, features: int, channels: int = 3) -> None:
        super().__init__()
        self.scale = scale
        self.conv_first = conv(channels, features)
        self.body = nn.Sequential(*(ResidualBlock(features) for _ in range(blocks)))
        steps = upsampling_steps(scale)
        for number, step in enumerate(steps, start=1):
            self.add_module(f"upconv{number}", conv(features, step * step * features))
        self.upsamplings = len(steps)
        self.pixel_shuffle = nn.PixelShuffle(steps[0])
        self.conv_hr = conv(features, features)
        self.conv_last = conv(features, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, channels, H, W)``; the network adds to a bilinear interpolation."""
        maps = self.body(F.leaky_relu(self.conv_first(x), SLOPE))
        for number in range(1, self.upsamplings + 1):
            maps = F.leaky_relu(self.pixel_shuffle(self.get_submodule(f"upconv{number}")(maps)), SLOPE)
        residual: Tensor = self.conv_last(F.leaky_relu(self.conv_hr(maps), SLOPE))
        return residual + F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)


def _hyperparameters(state: State, _scale: int | None) -> Hyperparameters:
    features = state["conv_first.weight"].shape[0]
    scale = 1
    for number in range(1, count(state, "upconv{}.weight") + 1):
        scale *= isqrt(state[f"upconv{number}.weight"].shape[0] // features)
    return {
        "scale": scale,
        "blocks": count(state, "body.{}.conv"),
        "features": features,
        "channels": image_channels(state["conv_first.weight"].shape[1]),
    }


def _from_mmediting(state: State) -> State:
    return rename_keys(state, (r"^upsample(\d)\.upsample_conv\.", r"upconv\1."))


def _from_mmsr(state: State) -> State:
    """MMSR, BasicSR's predecessor, named two parts differently."""
    return rename_keys(state, (r"^recon_trunk\.", "body."), (r"^HRconv\.", "conv_hr."))


ARCHITECTURE = Architecture(
    name="msrresnet",
    title="MSRResNet (BasicSR)",
    dialects=(
        Dialect(
            keys=(
                "conv_first.weight",
                "body.0.conv1.weight",
                "upconv1.weight",
                "conv_hr.weight",
                "conv_last.weight",
            )
        ),
        Dialect(
            keys=(
                "conv_first.weight",
                "recon_trunk.0.conv1.weight",
                "upconv1.weight",
                "HRconv.weight",
                "conv_last.weight",
            ),
            rename=_from_mmsr,
        ),
        Dialect(
            keys=(
                "conv_first.weight",
                "body.0.conv1.weight",
                "upsample1.upsample_conv.weight",
                "conv_hr.weight",
                "conv_last.weight",
            ),
            rename=_from_mmediting,
        ),
    ),
    hyperparameters=_hyperparameters,
    build=MSRResNet,
    body=("body.*.conv1", "body.*.conv2"),
)
