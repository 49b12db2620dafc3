"""VDSR (Kim et al., CVPR 2016, §3): twenty convolutions add detail to a bicubically enlarged image."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from dfsq.evaluation.bicubic import enlarge
from dfsq.networks.architecture import (
    Architecture,
    Dialect,
    Hyperparameters,
    State,
    chosen_scale,
    count,
    image_channels,
    rename_keys,
)
from dfsq.networks.blocks import conv

SCALES = (2, 3, 4)


class Layer(nn.Module):
    """Convolution and ReLU."""

    def __init__(self, features: int, bias: bool) -> None:
        super().__init__()
        self.conv = conv(features, features, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to the same shape."""
        return F.relu(self.conv(x))


class VDSR(nn.Module):
    """VDSR under the parameter names of its first PyTorch port; input and output in 0–1.

    One network is trained for all scales: ``scale`` only says how far the input is enlarged.
    """

    def __init__(self, scale: int, layers: int, features: int, bias: bool, channels: int = 3) -> None:
        super().__init__()
        self.scale = scale
        self.input = conv(channels, features, bias=bias)
        self.residual_layer = nn.Sequential(*(Layer(features, bias) for _ in range(layers)))
        self.output = conv(features, channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, channels, H, W)``."""
        enlarged = enlarge(x, self.scale)
        residual: Tensor = self.output(self.residual_layer(F.relu(self.input(enlarged))))
        return enlarged + residual


def _hyperparameters(state: State, scale: int | None) -> Hyperparameters:
    first = state["input.weight"].shape
    return {
        "scale": chosen_scale(scale, SCALES),
        "layers": count(state, "residual_layer.{}."),
        "features": first[0],
        "bias": "input.bias" in state,
        "channels": image_channels(first[1]),
    }


def _from_trunk(state: State) -> State:
    return rename_keys(
        state, (r"^conv1\.0\.", "input."), (r"^trunk\.(\d+)\.", r"residual_layer.\1."), (r"^conv2\.", "output.")
    )


ARCHITECTURE = Architecture(
    name="vdsr",
    title="VDSR (Kim et al. 2016)",
    dialects=(
        Dialect(keys=("input.weight", "residual_layer.0.conv.weight", "output.weight")),
        Dialect(keys=("conv1.0.weight", "trunk.0.conv.weight", "conv2.weight"), rename=_from_trunk),
    ),
    hyperparameters=_hyperparameters,
    build=VDSR,
    hidden=lambda _: {"scale": SCALES},
)
