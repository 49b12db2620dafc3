"""SRCNN (Dong et al., ECCV 2014, §3): three convolutions on a bicubically enlarged image, luminance or RGB."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from dfsq.evaluation.bicubic import enlarge
from dfsq.networks.architecture import (
    Architecture,
    Dialect,
    Hyperparameters,
    State,
    chosen_scale,
    image_channels,
    rename_keys,
)
from dfsq.networks.blocks import conv, numbered_convs

SCALES = (2, 3, 4)


class SRCNN(nn.Module):
    """SRCNN under the names ``conv1`` … ``conv3``; input and output in 0–1.

    The paper's 9-1-5 has kernels ``(9, 1, 5)``; most PyTorch ports have 9-5-5. All of them pad with zeros.
    """

    def __init__(self, scale: int, widths: Sequence[int], kernels: Sequence[int], channels: int = 3) -> None:
        super().__init__()
        self.scale = scale
        self.conv1 = conv(channels, widths[0], kernels[0])
        self.conv2 = conv(widths[0], widths[1], kernels[1])
        self.conv3 = conv(widths[1], channels, kernels[2])

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, channels, H, W)``."""
        maps = F.relu(self.conv2(F.relu(self.conv1(enlarge(x, self.scale)))))
        output: Tensor = self.conv3(maps)
        return output


def _hyperparameters(state: State, scale: int | None) -> Hyperparameters:
    weights = numbered_convs(state)
    return {
        "scale": chosen_scale(scale, SCALES),
        "widths": [weight.shape[0] for weight in weights[:-1]],
        "kernels": [weight.shape[-1] for weight in weights],
        "channels": image_channels(weights[0].shape[1]),
    }


def _keeps_size(state: State) -> bool:
    """Whether the network returns as many channels as it takes: names like ``conv1`` are anybody's."""
    weights = numbered_convs(state)
    return len(weights) == 3 and weights[0].shape[1] == weights[2].shape[0] and weights[0].shape[-1] == 9


def _from_parts(state: State) -> State:
    return rename_keys(state, (r"^features\.0\.", "conv1."), (r"^map\.0\.", "conv2."), (r"^reconstruction\.", "conv3."))


ARCHITECTURE = Architecture(
    name="srcnn",
    title="SRCNN (Dong et al. 2014)",
    dialects=(
        Dialect(keys=("conv1.weight", "conv2.weight", "conv3.weight"), fits=_keeps_size),
        Dialect(keys=("features.0.weight", "map.0.weight", "reconstruction.weight"), rename=_from_parts),
    ),
    hyperparameters=_hyperparameters,
    build=SRCNN,
    hidden=lambda _: {"scale": SCALES},
)
