"""Pieces that several architectures share."""

from __future__ import annotations

from math import isqrt

from torch import nn

from dfsq.networks.architecture import State


def conv(inputs: int, outputs: int, kernel: int = 3, **options: int | bool) -> nn.Conv2d:
    """A convolution that keeps height and width at stride 1."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)  # type: ignore[arg-type]


def mean_shift() -> nn.Conv2d:
    """A 1×1 convolution that adds a constant to each colour; its values come from the checkpoint."""
    return nn.Conv2d(3, 3, 1)


def pixel_shuffle_upsampler(features: int, scale: int) -> list[nn.Module]:
    """Convolution and pixel shuffle, twice for ×4, as EDSR-PyTorch numbers them: convolutions at even indices."""
    steps = [2] * (scale.bit_length() - 1) if scale in (2, 4, 8) else [scale]
    layers: list[nn.Module] = []
    for step in steps:
        layers += [conv(features, step * step * features), nn.PixelShuffle(step)]
    return layers


def pixel_shuffle_scale(state: State, pattern: str, features: int) -> int:
    """Scale of an upsampler whose convolutions are ``pattern.format(index)``, each followed by a pixel shuffle.

    ``features`` is the number of channels after a shuffle.
    """
    scale, index = 1, 0
    while (key := pattern.format(index)) in state:
        scale *= isqrt(state[key].shape[0] // features)
        index += 2
    return scale
