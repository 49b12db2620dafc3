"""RLFN: residual local feature network (Kong et al., CVPRW 2022, §3), winner at NTIRE 2022."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from dfsq.networks.architecture import Architecture, Dialect, Hyperparameters, State, count, image_channels, rename_keys
from dfsq.networks.blocks import SpatialAttention, conv, pixel_shuffle_scale

SLOPE = 0.05
"""Negative slope of the leaky ReLUs."""


class LocalFeatureBlock(nn.Module):
    """Three convolutions with leaky ReLUs added to the input, then a 1×1 convolution and attention (§3.2)."""

    def __init__(self, features: int, middle: int, attention: int) -> None:
        super().__init__()
        self.c1_r = conv(features, middle)
        self.c2_r = conv(middle, middle)
        self.c3_r = conv(middle, features)
        self.c5 = conv(features, features, 1)
        self.esa = SpatialAttention(features, attention, deep=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to the same shape."""
        maps = x
        for layer in (self.c1_r, self.c2_r, self.c3_r):
            maps = F.leaky_relu(layer(maps), SLOPE)
        output: Tensor = self.esa(self.c5(x + maps))
        return output


class RLFN(nn.Module):
    """RLFN, RLFN-S and the NTIRE entry under their authors' parameter names; input and output in 0–255."""

    def __init__(self, scale: int, blocks: int, features: int, middle: int, attention: int, channels: int = 3) -> None:
        super().__init__()
        self.conv_1 = conv(channels, features)
        for number in range(1, blocks + 1):
            self.add_module(f"block_{number}", LocalFeatureBlock(features, middle, attention))
        self.blocks = blocks
        self.conv_2 = conv(features, features)
        self.upsampler = nn.Sequential(conv(features, channels * scale * scale), nn.PixelShuffle(scale))

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, channels, H, W)``."""
        shallow = maps = self.conv_1(x)
        for number in range(1, self.blocks + 1):
            maps = self.get_submodule(f"block_{number}")(maps)
        result: Tensor = self.upsampler(shallow + self.conv_2(maps))
        return result


def _hyperparameters(state: State, _scale: int | None) -> Hyperparameters:
    channels = image_channels(state["conv_1.weight"].shape[1])
    return {
        "scale": pixel_shuffle_scale(state, "upsampler.{}.weight", features=channels),
        "blocks": count(state, "block_{}."),
        "features": state["conv_1.weight"].shape[0],
        "middle": state["block_1.c1_r.weight"].shape[0],
        "attention": state["block_1.esa.conv1.weight"].shape[0],
        "channels": channels,
    }


def _from_ntire(state: State) -> State:
    """The NTIRE entry, pruned from the published network, kept the names of its predecessor RFDN."""
    return rename_keys(state, (r"^fea_conv\.", "conv_1."), (r"^B(\d+)\.", r"block_\1."), (r"^LR_conv\.", "conv_2."))


ARCHITECTURE = Architecture(
    name="rlfn",
    title="RLFN (Kong et al. 2022)",
    dialects=(
        Dialect(
            keys=(
                "conv_1.weight",
                "block_1.c1_r.weight",
                "block_1.c5.weight",
                "block_1.esa.conv1.weight",
                "conv_2.weight",
                "upsampler.0.weight",
            )
        ),
        Dialect(
            keys=(
                "fea_conv.weight",
                "B1.c1_r.weight",
                "B1.c5.weight",
                "B1.esa.conv1.weight",
                "LR_conv.weight",
                "upsampler.0.weight",
            ),
            absent=("B1.c1_d.weight",),  # RFDN
            rename=_from_ntire,
        ),
    ),
    hyperparameters=_hyperparameters,
    build=RLFN,
    rgb_range=255.0,
)
