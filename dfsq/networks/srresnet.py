"""SRResNet with batch normalization (Ledig et al., CVPR 2017, §2.1), as the quantization papers train it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dfsq.networks.architecture import Architecture, Dialect, Hyperparameters, State, count, image_channels, rename_keys
from dfsq.networks.blocks import conv, pixel_shuffle_scale, upsampling_steps


class ResidualBlock(nn.Module):
    """Convolution, normalization, PReLU, convolution, normalization, added to the input."""

    def __init__(self, features: int, bias: bool) -> None:
        super().__init__()
        self.conv1 = conv(features, features, bias=bias)
        self.in1 = nn.BatchNorm2d(features)
        self.relu = nn.PReLU()
        self.conv2 = conv(features, features, bias=bias)
        self.in2 = nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to the same shape."""
        inner = self.relu(self.in1(self.conv1(x)))
        residual: Tensor = self.in2(self.conv2(inner))
        return x + residual


class SRResNet(nn.Module):
    """SRResNet under the parameter names of DDTB and DFSQ; input and output in 0–255."""

    def __init__(self, scale: int, blocks: int, features: int, bias: bool, channels: int = 3) -> None:
        super().__init__()
        self.conv_input = conv(channels, features, 9, bias=bias)
        self.relu = nn.PReLU()
        self.residual = nn.Sequential(*(ResidualBlock(features, bias) for _ in range(blocks)))
        self.conv_mid = conv(features, features, bias=bias)
        self.bn_mid = nn.BatchNorm2d(features)
        upscale: list[nn.Module] = []
        for step in upsampling_steps(scale):
            upscale += [
                conv(features, step * step * features, bias=bias),
                nn.PixelShuffle(step),
                nn.PReLU(),
            ]
        self.upscale = nn.Sequential(*upscale)
        self.conv_output = conv(features, channels, 9, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, channels, H, W)``."""
        shallow = self.relu(self.conv_input(x))
        deep = shallow + self.bn_mid(self.conv_mid(self.residual(shallow)))
        output: Tensor = self.conv_output(self.upscale(deep))
        return output


def _hyperparameters(state: State, _scale: int | None) -> Hyperparameters:
    features = state["conv_input.weight"].shape[0]
    return {
        "scale": pixel_shuffle_scale(state, "upscale.{}.weight", features, step=3),
        "blocks": count(state, "residual.{}."),
        "features": features,
        "bias": "conv_input.bias" in state,
        "channels": image_channels(state["conv_input.weight"].shape[1]),
    }


def _with_counters(state: State) -> State:
    """PyTorch before 0.4.1 saved no batch counters; they play no part in inference."""
    counters = {
        key.replace("running_mean", "num_batches_tracked"): torch.tensor(0)
        for key in state
        if key.endswith(".running_mean")
    }
    return {**counters, **state}


def _from_cadyq(state: State) -> State:
    """CADyQ arranges the same layers as EDSR-PyTorch does, and stores mean shifts that it never applies."""
    blocks = count(state, "body.{}.conv")
    used = {key: value for key, value in state.items() if not key.startswith(("sub_mean.", "add_mean."))}
    renamed = rename_keys(
        used,
        (r"^head\.0\.", "conv_input."),
        (r"^head\.1\.", "relu."),
        (r"^body\.(\d+)\.(conv[12])\.", r"residual.\1.\2."),
        (r"^body\.(\d+)\.bn([12])\.", r"residual.\1.in\2."),
        (r"^body\.(\d+)\.act\.", r"residual.\1.relu."),
        (rf"^body\.{blocks}\.", "conv_mid."),
        (rf"^body\.{blocks + 1}\.", "bn_mid."),
        (r"^tail\.0\.", "upscale."),
        (r"^tail\.1\.", "conv_output."),
    )
    return _with_counters(renamed)


ARCHITECTURE = Architecture(
    name="srresnet",
    title="SRResNet (Ledig et al. 2017)",
    dialects=(
        Dialect(
            keys=(
                "conv_input.weight",
                "residual.0.conv1.weight",
                "residual.0.in1.weight",
                "conv_mid.weight",
                "upscale.0.weight",
                "conv_output.weight",
            ),
            rename=_with_counters,
        ),
        Dialect(
            keys=(
                "head.0.weight",
                "head.1.weight",
                "body.0.conv1.weight",
                "body.0.bn1.weight",
                "tail.0.0.weight",
                "tail.1.weight",
            ),
            rename=_from_cadyq,
        ),
    ),
    hyperparameters=_hyperparameters,
    build=SRResNet,
    rgb_range=255.0,
    body=("residual.*.conv1", "residual.*.conv2"),
)
