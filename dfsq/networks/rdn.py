"""RDN: residual dense network (Zhang et al., CVPR 2018, §3)."""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor, nn

from dfsq.networks.architecture import Architecture, Dialect, Hyperparameters, State, count, image_channels, rename_keys
from dfsq.networks.blocks import conv, upsampling_steps
from dfsq.nn import Place


class DenseConv(nn.Module):
    """Convolution and ReLU whose output is appended to the input's channels."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(conv(inputs, growth), nn.ReLU())
        self.output = Place(inputs + growth)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, inputs, H, W)`` to ``(N, inputs + growth, H, W)``."""
        output: Tensor = self.output(torch.cat((x, self.conv(x)), dim=1))
        return output


class ResidualDenseBlock(nn.Module):
    """Dense convolutions, fused by a 1×1 convolution and added to the input (§3.2)."""

    def __init__(self, features: int, growth: int, convs: int) -> None:
        super().__init__()
        self.input = Place(features)
        self.convs = nn.Sequential(*(DenseConv(features + index * growth, growth) for index in range(convs)))
        self.LFF = conv(features + convs * growth, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to the same shape."""
        shortcut: Tensor = self.input(x)
        residual: Tensor = self.LFF(self.convs(shortcut))
        return shortcut + residual


class RDN(nn.Module):
    """RDN under the parameter names of EDSR-PyTorch; input and output in 0–255.

    Configuration A of that code is 20 blocks of 6 convolutions with growth 32, B is 16 of 8 with growth 64.
    """

    def __init__(self, scale: int, blocks: int, convs: int, features: int, growth: int, channels: int = 3) -> None:
        super().__init__()
        self.SFENet1 = conv(channels, features)
        self.SFENet2 = conv(features, features)
        self.RDBs = nn.ModuleList(ResidualDenseBlock(features, growth, convs) for _ in range(blocks))
        self.outputs = Place(blocks * features)
        self.GFF = nn.Sequential(conv(blocks * features, features, 1), conv(features, features))
        upsampler: list[nn.Module] = []
        inputs = features
        for step in upsampling_steps(scale):
            upsampler += [conv(inputs, step * step * growth), nn.PixelShuffle(step)]
            inputs = growth
        self.UPNet = nn.Sequential(*upsampler, conv(growth, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, channels, H, W)``."""
        shallow = self.SFENet1(x)
        maps = self.SFENet2(shallow)
        outputs = []
        for block in self.RDBs:
            maps = block(maps)
            outputs.append(maps)
        deep = self.GFF(self.outputs(torch.cat(outputs, dim=1)))
        result: Tensor = self.UPNet(shallow + deep)
        return result


def _hyperparameters(state: State, _scale: int | None) -> Hyperparameters:
    growth = state["RDBs.0.convs.0.conv.0.weight"].shape[0]
    # The last convolution of UPNet has no pixel shuffle; one remains for ×2 and ×3, two for ×4.
    shuffled = [f"UPNet.{index}.weight" for index in (0, 2, 4) if f"UPNet.{index}.weight" in state][:-1]
    scale = 1
    for key in shuffled:
        scale *= isqrt(state[key].shape[0] // growth)
    return {
        "scale": scale,
        "blocks": count(state, "RDBs.{}."),
        "convs": count(state, "RDBs.0.convs.{}."),
        "features": state["SFENet1.weight"].shape[0],
        "growth": growth,
        "channels": image_channels(state["SFENet1.weight"].shape[1]),
    }


def _from_lower_case(state: State) -> State:
    """The spelling of MMEditing and of most ports, equal where features and growth are."""
    last = count(state, "upscale.{}.weight") + 1  # a pixel shuffle lies between
    return rename_keys(
        state,
        (r"^sfe(\d)\.", r"SFENet\1."),
        (r"^rdbs\.(\d+)\.layers\.(\d+)\.conv\.", r"RDBs.\1.convs.\2.conv.0."),
        (r"^rdbs\.(\d+)\.lff\.", r"RDBs.\1.LFF."),
        (r"^gff\.", "GFF."),
        (r"^upscale\.", "UPNet."),
        (r"^output\.", f"UPNet.{last}."),
    )


ARCHITECTURE = Architecture(
    name="rdn",
    title="RDN (Zhang et al. 2018)",
    dialects=(
        Dialect(
            keys=(
                "SFENet1.weight",
                "SFENet2.weight",
                "RDBs.0.convs.0.conv.0.weight",
                "RDBs.0.LFF.weight",
                "GFF.0.weight",
                "UPNet.0.weight",
            )
        ),
        Dialect(
            keys=("sfe1.weight", "sfe2.weight", "rdbs.0.layers.0.conv.weight", "gff.0.weight", "output.weight"),
            rename=_from_lower_case,
        ),
    ),
    hyperparameters=_hyperparameters,
    build=RDN,
    rgb_range=255.0,
    body=("RDBs.*.conv.0", "RDBs.*.LFF", "GFF.*"),
)
