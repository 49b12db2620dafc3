"""ESPCN: efficient sub-pixel convolutional network (Shi et al., CVPR 2016, §2), for luminance or RGB."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfsq.networks.architecture import Architecture, Dialect, Hyperparameters, State, image_channels, rename_keys
from dfsq.networks.blocks import conv, numbered_convs

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": F.relu}


class ESPCN(nn.Module):
    """ESPCN under the names ``conv1``, ``conv2`` …; input and output in 0–1.

    ``widths`` are the outputs of all convolutions but the last, 64 and 32 in the paper, whose activation is tanh;
    PyTorch's own example has a layer more and ReLU.
    """

    def __init__(self, scale: int, widths: Sequence[int], activation: str, channels: int = 3) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.layers = len(widths) + 1
        outputs = [*widths, channels * scale * scale]
        for number, (before, after) in enumerate(zip([channels, *widths], outputs, strict=True), start=1):
            self.add_module(f"conv{number}", conv(before, after, 5 if number == 1 else 3))
        self.pixel_shuffle = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, channels, H, W)``."""
        for number in range(1, self.layers):
            x = self.activation(self.get_submodule(f"conv{number}")(x))
        output: Tensor = self.pixel_shuffle(self.get_submodule(f"conv{self.layers}")(x))
        return output


def _hidden(state: State) -> Mapping[str, tuple[Any, ...]]:
    three_layers = "conv4.weight" not in state
    return {"activation": ("tanh", "relu") if three_layers else ("relu", "tanh")}


def _hyperparameters(state: State, _scale: int | None) -> Hyperparameters:
    weights = numbered_convs(state)
    channels = image_channels(weights[0].shape[1])
    return {
        "scale": isqrt(weights[-1].shape[0] // channels),
        "widths": [weight.shape[0] for weight in weights[:-1]],
        "activation": _hidden(state)["activation"][0],
        "channels": channels,
    }


def _shuffles(state: State) -> bool:
    """Whether the last convolution has more outputs than the image channels: names like ``conv1`` are anybody's."""
    weights = numbered_convs(state)
    return len(weights) >= 3 and weights[0].shape[-1] == 5 and weights[-1].shape[0] >= 4 * weights[0].shape[1]


def _from_parts(state: State) -> State:
    """Two more spellings, each with two sequences of the same layers."""
    return rename_keys(
        state,
        (r"^(first_part|feature_maps)\.0\.", "conv1."),
        (r"^(first_part|feature_maps)\.2\.", "conv2."),
        (r"^(last_part|sub_pixel)\.0\.", "conv3."),
    )


ARCHITECTURE = Architecture(
    name="espcn",
    title="ESPCN (Shi et al. 2016)",
    dialects=(
        Dialect(keys=("conv1.weight", "conv2.weight", "conv3.weight"), fits=_shuffles),
        Dialect(keys=("first_part.0.weight", "first_part.2.weight", "last_part.0.weight"), rename=_from_parts),
        Dialect(keys=("feature_maps.0.weight", "feature_maps.2.weight", "sub_pixel.0.weight"), rename=_from_parts),
    ),
    hyperparameters=_hyperparameters,
    build=ESPCN,
    hidden=_hidden,
)
