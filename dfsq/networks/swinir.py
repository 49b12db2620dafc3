"""SwinIR: image restoration by a Swin transformer (Liang et al., ICCVW 2021; its windows: Liu et al., ICCV 2021)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfsq.errors import CheckpointError
from dfsq.networks.architecture import Architecture, Dialect, Hyperparameters, State, count, image_channels
from dfsq.networks.blocks import conv, pad_to_multiple, pixel_shuffle_scale, pixel_shuffle_upsampler
from dfsq.networks.windows import merged_windows, relative_positions, shift_mask, windows_of
from dfsq.nn import Operand

MEAN = (0.4488, 0.4371, 0.4040)
"""Mean colour of DIV2K, which is subtracted from RGB images."""
SLOPE = 0.2
"""Negative slope of the leaky ReLUs, but for the one before the upsampler."""
_TAKEN_APART = 12
"""Least number of channels of an RGB image in parts."""
_NAMES = re.compile(
    r"(conv_(first|after_body|before_upsample|up1|up2|hr|last)|upsample|norm|patch_embed\.norm)\."
    r"|layers\.\d+\.(conv\.|residual_group\.blocks\.\d+\."
    r"(norm[12]\.|attn\.(qkv|proj)\.|attn\.relative_position_(bias_table|index)$|attn_mask$|mlp\.fc[12]\.))"
)


class WindowAttention(nn.Module):
    """Attention among the tokens of a window, with a bias for every head and relative position."""

    positions: Tensor

    def __init__(self, features: int, heads: int, window: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("positions", relative_positions(window), persistent=False)
        self.qkv = nn.Linear(features, 3 * features, bias=bias)
        self.query, self.key, self.value = (Operand(features, channel_axis=2) for _ in range(3))
        self.probabilities = Operand(heads, channel_axis=1)
        self.proj = nn.Linear(features, features)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map ``(windows, tokens, features)`` to the same shape; ``mask`` ``(windows of an image, tokens, tokens)`` is
        added to the scores."""
        parts = zip((self.query, self.key, self.value), self.qkv(x).chunk(3, dim=-1), strict=True)
        query, key, value = (place(part).unflatten(-1, (self.heads, -1)).transpose(1, 2) for place, part in parts)
        scores = query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)
        scores = scores + self.relative_position_bias_table[self.positions].permute(2, 0, 1)
        if mask is not None:
            scores = (scores.unflatten(0, (-1, mask.shape[0])) + mask[:, None]).flatten(0, 1)
        mixed = self.probabilities(scores.softmax(dim=-1)) @ value
        output: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return output


class Perceptron(nn.Module):
    """Two linear layers for every token by itself."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, hidden)
        self.fc2 = nn.Linear(hidden, features)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(…, features)`` to the same shape."""
        output: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return output


class TransformerBlock(nn.Module):
    """Attention within windows, which every other block shifts by half their size, then a perceptron."""

    def __init__(self, features: int, heads: int, window: int, shift: int, hidden: int, bias: bool) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(features)
        self.attn = WindowAttention(features, heads, window, bias)
        self.norm2 = nn.LayerNorm(features)
        self.mlp = Perceptron(features, hidden)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map ``(N, H, W, features)`` to the same shape; ``mask`` is that of shifted windows."""
        shifts = (self.shift, self.shift)
        tokens = torch.roll(self.norm1(x), (-self.shift, -self.shift), (1, 2)) if self.shift else self.norm1(x)
        attended = self.attn(windows_of(tokens, self.window), mask if self.shift else None)
        merged = merged_windows(attended, x, self.window)
        x = x + (torch.roll(merged, shifts, (1, 2)) if self.shift else merged)
        output: Tensor = x + self.mlp(self.norm2(x))
        return output


class TransformerGroup(nn.Module):
    """Blocks, then convolution, added to the input (RSTB)."""

    def __init__(self, blocks: Sequence[TransformerBlock], features: int, deep: bool) -> None:
        super().__init__()
        self.residual_group = nn.ModuleDict({"blocks": nn.ModuleList(blocks)})
        self.conv = closing(features, deep)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map ``(N, H, W, features)`` to the same shape."""
        tokens = x
        for block in self.residual_group["blocks"]:  # type: ignore[attr-defined]
            tokens = block(tokens, mask)
        output: Tensor = x + self.conv(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return output


class SwinIR(nn.Module):
    """SwinIR under its authors' parameter names; input and output in 0–1."""

    mean: Tensor

    def __init__(
        self,
        scale: int,
        features: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: int,
        hidden: int,
        upsampler: str,
        upsampled: int = 64,
        deep: bool = False,
        bias: bool = True,
        embedding_norm: bool = True,
        shifted: bool = True,
        channels: int = 3,
    ) -> None:
        """``hidden``: features within perceptrons. ``upsampler``: as its authors call it, "" for scale 1.

        ``upsampled``: features of the upsampler. ``deep``: three convolutions close a group instead of one.
        """
        super().__init__()
        self.scale, self.window, self.upsampler = scale, window, upsampler
        shift = window // 2 if shifted else 0
        mean = torch.tensor(MEAN if channels == 3 else (0.0,) * channels).view(1, -1, 1, 1)
        self.register_buffer("mean", mean, persistent=False)
        self.conv_first = conv(channels, features)
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(features)} if embedding_norm else {})
        self.layers = nn.ModuleList()
        for depth, number in zip(depths, heads, strict=True):
            blocks = [
                TransformerBlock(features, number, window, shift * (index % 2), hidden, bias) for index in range(depth)
            ]
            self.layers.append(TransformerGroup(blocks, features, deep))
        self.norm = nn.LayerNorm(features)
        self.conv_after_body = closing(features, deep)
        if upsampler == "pixelshuffledirect":
            self.upsample = nn.Sequential(conv(features, channels * scale**2), nn.PixelShuffle(scale))
            return
        if upsampler:
            self.conv_before_upsample = nn.Sequential(conv(features, upsampled), nn.LeakyReLU())
        if upsampler == "pixelshuffle":
            self.upsample = nn.Sequential(*pixel_shuffle_upsampler(upsampled, scale))
        elif upsampler:
            self.conv_up1 = conv(upsampled, upsampled)
            if scale == 4:
                self.conv_up2 = conv(upsampled, upsampled)
            self.conv_hr = conv(upsampled, upsampled)
        self.conv_last = conv(upsampled if upsampler else features, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, channels, H, W)``."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, self.window) - self.mean
        shallow = self.conv_first(x)
        tokens = shallow.permute(0, 2, 3, 1)
        for norm in self.patch_embed.values():
            tokens = norm(tokens)
        mask = shift_mask(tokens, self.window)
        for layer in self.layers:
            tokens = layer(tokens, mask)
        maps = self.conv_after_body(self.norm(tokens).permute(0, 3, 1, 2)) + shallow
        output = self._upsampled(maps) if self.upsampler else x + self.conv_last(maps)
        return (output + self.mean)[..., : height * self.scale, : width * self.scale]

    def _upsampled(self, maps: Tensor) -> Tensor:
        if self.upsampler == "pixelshuffledirect":
            output: Tensor = self.upsample(maps)
            return output
        maps = self.conv_before_upsample(maps)
        if self.upsampler == "pixelshuffle":
            maps = self.upsample(maps)
        else:
            for layer in [self.conv_up1, self.conv_up2] if self.scale == 4 else [self.conv_up1]:
                maps = F.leaky_relu(layer(F.interpolate(maps, scale_factor=2, mode="nearest")), SLOPE)
            maps = F.leaky_relu(self.conv_hr(maps), SLOPE)
        output = self.conv_last(maps)
        return output


def closing(features: int, deep: bool) -> nn.Module:
    """The convolution after blocks, or three that pass through a quarter of the features."""
    if not deep:
        return conv(features, features)
    few = features // 4
    activation = nn.LeakyReLU(SLOPE)
    return nn.Sequential(conv(features, few), activation, conv(few, few, 1), activation, conv(few, features))


def _fits(state: State) -> bool:
    # Variants that take an image apart into smaller ones, as more channels, are left to spandrel.
    return all(_NAMES.match(name) for name in state) and state["conv_first.weight"].shape[1] < _TAKEN_APART


def _block(layer: int, block: int) -> str:
    return f"layers.{layer}.residual_group.blocks.{block}"


def _hyperparameters(state: State, _scale: int | None) -> Hyperparameters:
    layers = range(count(state, "layers.{}."))
    tables = [state[f"{_block(each, 0)}.attn.relative_position_bias_table"] for each in layers]
    window = (isqrt(len(tables[0])) + 1) // 2
    indices = [tensor for name, tensor in state.items() if name.endswith(".relative_position_index")]
    if not all(torch.equal(each, relative_positions(window)) for each in indices):
        raise CheckpointError("relative_position_index of this SwinIR checkpoint is not that of square windows")
    features, channels = state["conv_first.weight"].shape[:2]
    last = state.get("conv_last.weight")
    if "conv_hr.weight" in state:
        upsampler, scale = "nearest+conv", 4 if "conv_up2.weight" in state else 2
    elif last is not None and "upsample.0.weight" in state:
        upsampler, scale = "pixelshuffle", pixel_shuffle_scale(state, "upsample.{}.weight", last.shape[1])
    elif last is not None:
        upsampler, scale = "", 1
    else:
        upsampler, scale = "pixelshuffledirect", isqrt(len(state["upsample.0.weight"]) // channels)
    return {
        "scale": scale,
        "features": features,
        "depths": [count(state, f"layers.{each}.residual_group.blocks.{{}}.") for each in layers],
        "heads": [table.shape[1] for table in tables],
        "window": window,
        "hidden": len(state[f"{_block(0, 0)}.mlp.fc1.weight"]),
        "upsampler": upsampler,
        "upsampled": last.shape[1] if upsampler in ("pixelshuffle", "nearest+conv") and last is not None else 64,
        "deep": "conv_after_body.0.weight" in state,
        "bias": f"{_block(0, 0)}.attn.qkv.bias" in state,
        "embedding_norm": "patch_embed.norm.weight" in state,
        # A file that holds what is computed lacks masks where the windows were as large as the images of training.
        "shifted": not indices or any(name.endswith(".attn_mask") for name in state),
        "channels": image_channels(channels),
    }


def _computed(hyperparameters: Hyperparameters) -> tuple[str, ...]:
    blocks = (_block(layer, each) for layer, depth in enumerate(hyperparameters["depths"]) for each in range(depth))
    return tuple(f"{block}.{name}" for block in blocks for name in ("attn_mask", "attn.relative_position_index"))


ARCHITECTURE = Architecture(
    name="swinir",
    title="SwinIR (Liang et al. 2021)",
    dialects=(
        Dialect(
            keys=(
                "conv_first.weight",
                "layers.0.residual_group.blocks.0.attn.relative_position_bias_table",
                "layers.0.residual_group.blocks.0.attn.qkv.weight",
                "layers.0.residual_group.blocks.0.mlp.fc1.weight",
                "norm.weight",
            ),
            fits=_fits,
        ),
    ),
    hyperparameters=_hyperparameters,
    build=SwinIR,
    drop=_computed,
)
