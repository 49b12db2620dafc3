"""RFDN: residual feature distillation network (Liu et al., ECCVW 2020, §3), winner at AIM 2020."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfsq.networks.architecture import Architecture, Dialect, Hyperparameters, State, count, image_channels
from dfsq.networks.blocks import DISTILLATION_SLOPE, DistillationNetwork, SpatialAttention, conv, pixel_shuffle_scale


class DistillationBlock(nn.Module):
    """Three shallow residual convolutions with a 1×1 distillation beside each, fused and weighed (§3.2)."""

    def __init__(self, features: int, distilled: int, attention: int) -> None:
        super().__init__()
        for number in (1, 2, 3):
            self.add_module(f"c{number}_d", conv(features, distilled, 1))
            self.add_module(f"c{number}_r", conv(features, features))
        self.c4 = conv(features, distilled)
        self.c5 = conv(4 * distilled, features, 1)
        self.esa = SpatialAttention(features, attention, deep=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to the same shape."""
        kept = []
        for number in (1, 2, 3):
            distil, refine = self.get_submodule(f"c{number}_d"), self.get_submodule(f"c{number}_r")
            kept.append(F.leaky_relu(distil(x), DISTILLATION_SLOPE))
            x = F.leaky_relu(x + refine(x), DISTILLATION_SLOPE)
        kept.append(F.leaky_relu(self.c4(x), DISTILLATION_SLOPE))
        output: Tensor = self.esa(self.c5(torch.cat(kept, dim=1)))
        return output


class RFDN(DistillationNetwork):
    """RFDN under its authors' parameter names; input and output in 0–255, for some checkpoints in 0–1.

    The AIM entry has 4 blocks of 50 features.
    """

    def __init__(
        self, scale: int, blocks: int, features: int, distilled: int, attention: int, channels: int = 3
    ) -> None:
        modules = [DistillationBlock(features, distilled, attention) for _ in range(blocks)]
        super().__init__(scale, features, "B", modules, channels)


def _hyperparameters(state: State, _scale: int | None) -> Hyperparameters:
    channels = image_channels(state["fea_conv.weight"].shape[1])
    return {
        "scale": pixel_shuffle_scale(state, "upsampler.{}.weight", features=channels),
        "blocks": count(state, "B{}."),
        "features": state["fea_conv.weight"].shape[0],
        "distilled": state["B1.c1_d.weight"].shape[0],
        "attention": state["B1.esa.conv1.weight"].shape[0],
        "channels": channels,
    }


ARCHITECTURE = Architecture(
    name="rfdn",
    title="RFDN (Liu et al. 2020)",
    dialects=(
        Dialect(
            keys=(
                "fea_conv.weight",
                "B1.c1_d.weight",
                "B1.c1_r.weight",
                "B1.esa.conv_max.weight",
                "LR_conv.weight",
                "upsampler.0.weight",
            )
        ),
    ),
    hyperparameters=_hyperparameters,
    build=RFDN,
    rgb_range=255.0,
)
