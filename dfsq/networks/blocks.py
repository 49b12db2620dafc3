"""Pieces that several architectures share."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfsq.errors import CheckpointError
from dfsq.networks.architecture import State

DISTILLATION_SLOPE = 0.05
"""Slope of the leaky ReLUs of IMDN and RFDN below zero."""


def conv(inputs: int, outputs: int, kernel: int = 3, **options: int | bool) -> nn.Conv2d:
    """A convolution that keeps height and width at stride 1."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)  # type: ignore[arg-type]


def mean_shift(channels: int) -> nn.Conv2d:
    """A 1×1 convolution that adds a constant to each colour; its values come from the checkpoint."""
    return nn.Conv2d(channels, channels, 1)


def mean_shift_range(state: State, name: str) -> float | None:
    """Range, 1 or 255, of the images from which the mean shift ``name`` subtracts their mean colour.

    None where it subtracts nothing or is not there.
    """
    weight, bias = state.get(f"{name}.weight"), state.get(f"{name}.bias")
    if (
        weight is None
        or bias is None
        or weight.shape not in ((3, 3, 1, 1), (1, 1, 1, 1))
        or len(weight) != bias.numel()
    ):
        return None
    # The weight divides by a standard deviation, 1 in most checkpoints.
    mean = float((bias / weight.flatten(1).diagonal()).abs().max())
    if mean == 0:
        return None
    return 1.0 if mean <= 1 else 255.0


def upsampling_steps(scale: int) -> list[int]:
    """Factors of the pixel shuffles that multiply to ``scale``: twos for 2, 4 and 8, else one step."""
    return [2] * (scale.bit_length() - 1) if scale in (2, 4, 8) else [scale]


def pixel_shuffle_upsampler(features: int, scale: int) -> list[nn.Module]:
    """Convolution and pixel shuffle, twice for ×4; convolutions at even indices as in EDSR-PyTorch."""
    layers: list[nn.Module] = []
    for step in upsampling_steps(scale):
        layers += [conv(features, step * step * features), nn.PixelShuffle(step)]
    return layers


def pixel_shuffle_scale(state: State, pattern: str, features: int, step: int = 2) -> int:
    """Scale of an upsampler whose convolutions are ``pattern.format(index)``, each before a pixel shuffle.

    ``features`` is the number of channels after a shuffle; ``step`` the distance between the indices of two
    convolutions.
    """
    scale, index = 1, 0
    while (key := pattern.format(index)) in state:
        scale *= isqrt(state[key].shape[0] // features)
        index += step
    return scale


def numbered_convs(state: State) -> list[Tensor]:
    """Weights of the convolutions ``conv1``, ``conv2`` … as far as they go."""
    weights: list[Tensor] = []
    while (weight := state.get(f"conv{len(weights) + 1}.weight")) is not None and weight.dim() == 4:
        weights.append(weight)
    return weights


def fold_normalization(state: State, conv: str, norm: str) -> State:
    """Weight and bias of the convolution ``conv`` that also does what the batch normalization ``norm`` after it does.

    Raises :class:`CheckpointError` where their shapes do not fit together.
    """
    gain, shift, mean, variance = (
        state[f"{norm}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")
    )
    weight = state[f"{conv}.weight"]
    bias = state.get(f"{conv}.bias", torch.zeros_like(mean))
    if weight.dim() != 4 or any(each.shape != weight.shape[:1] for each in (bias, gain, shift, mean, variance)):
        raise CheckpointError(f"the shapes of {norm} do not fit those of {conv}; the checkpoint is damaged")
    gain = gain / torch.sqrt(variance + nn.BatchNorm2d(1).eps)
    return {f"{conv}.weight": weight * gain.view(-1, 1, 1, 1), f"{conv}.bias": (bias - mean) * gain + shift}


def pad_to_multiple(x: Tensor, multiple: int, minimum: int = 0) -> Tensor:
    """Pad ``(N, C, H, W)`` at the right and the bottom until H and W are multiples and at least ``minimum``.

    Reflects the border; where the image is too small for that, the rest repeats the edge. Decides nothing by sizes, so
    that it can be exported for images of any size.
    """
    if multiple == 1 and minimum <= 1:
        return x
    for axis in (2, 3):
        last = x.shape[axis] - 1
        least = torch.sym_max(last + 1, minimum)  # type: ignore[no-untyped-call]
        padded = (least + multiple - 1) // multiple * multiple
        position = torch.arange(padded, device=x.device)
        x = x.index_select(axis, (last - (position - last).abs()).clamp_min(0))
    return x


class SpatialAttention(nn.Module):
    """Enhanced spatial attention (ESA; Liu et al., CVPR 2020), as RFDN and RLFN shrink it.

    ``deep`` is RFDN's form with three convolutions between pooling and interpolation; RLFN keeps one.
    """

    def __init__(self, features: int, channels: int, deep: bool) -> None:
        super().__init__()
        self.conv1 = conv(features, channels, 1)
        self.conv_f = conv(channels, channels, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=2)
        self.conv3 = conv(channels, channels)
        self.conv4 = conv(channels, features, 1)
        self.deep = deep
        if deep:
            self.conv_max = conv(channels, channels)
            self.conv3_ = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh every value of ``(N, features, H, W)`` by 0–1; H and W at least 3."""
        reduced = self.conv1(x)
        pooled = self.conv2(reduced)
        # Stored networks pool 7×7; below 15 pixels there is less than that.
        window = (min(7, pooled.shape[-2]), min(7, pooled.shape[-1]))
        pooled = F.max_pool2d(pooled, window, stride=3)
        if self.deep:
            pooled = F.relu(self.conv_max(pooled))
            pooled = self.conv3_(F.relu(self.conv3(pooled)))
        else:
            pooled = self.conv3(pooled)
        spread = F.interpolate(pooled, x.shape[-2:], mode="bilinear", align_corners=False)
        weights = torch.sigmoid(self.conv4(spread + self.conv_f(reduced)))
        return x * weights


class DistillationNetwork(nn.Module):
    """The frame that IMDN and RFDN share: the outputs of all blocks are fused, added to the first maps and shuffled.

    Blocks are registered as ``PREFIX1``, ``PREFIX2`` and so on. Without ``fused`` only the last block's output counts.
    """

    def __init__(
        self, scale: int, features: int, prefix: str, blocks: Sequence[nn.Module], channels: int, fused: bool = True
    ) -> None:
        super().__init__()
        self.fea_conv = conv(channels, features)
        for number, block in enumerate(blocks, start=1):
            self.add_module(f"{prefix}{number}", block)
        self.blocks = tuple(f"{prefix}{number}" for number in range(1, len(blocks) + 1))
        self.fused = fused
        if fused:
            self.c = nn.Sequential(conv(len(blocks) * features, features, 1), nn.LeakyReLU(DISTILLATION_SLOPE))
        self.LR_conv = conv(features, features)
        self.upsampler = nn.Sequential(conv(features, channels * scale * scale), nn.PixelShuffle(scale))

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, channels, H, W)``."""
        shallow = maps = self.fea_conv(x)
        outputs = []
        for name in self.blocks:
            maps = self.get_submodule(name)(maps)
            outputs.append(maps)
        deep = self.c(torch.cat(outputs, dim=1)) if self.fused else maps
        result: Tensor = self.upsampler(shallow + self.LR_conv(deep))
        return result
