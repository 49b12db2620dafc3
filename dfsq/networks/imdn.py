"""IMDN: information multi-distillation network (Hui et al., ACM MM 2019, §3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfsq.networks.architecture import Architecture, Dialect, Hyperparameters, State, count, image_channels, rename_keys
from dfsq.networks.blocks import DISTILLATION_SLOPE, DistillationNetwork, conv, pixel_shuffle_scale


class ContrastAttention(nn.Module):
    """Weighs channels by their standard deviation plus mean over the map (§3.3)."""

    def __init__(self, features: int, squeezed: int) -> None:
        super().__init__()
        self.conv_du = nn.Sequential(conv(features, squeezed, 1), nn.ReLU(), conv(squeezed, features, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to the same shape."""
        # Without the map of differences, or of squares, that std_mean has engines write; rounding may make it negative.
        mean = x.mean((2, 3), keepdim=True)
        norm = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)
        variance = norm * norm / (x.shape[2] * x.shape[3]) - mean * mean
        weights: Tensor = self.conv_du(variance.clamp_min(0).sqrt() + mean)
        return x * weights


class DistillationBlock(nn.Module):
    """Four convolutions that each set aside ``distilled`` channels and pass on the rest (§3.2).

    ``squeezed`` 0 leaves the attention out.
    """

    def __init__(self, features: int, distilled: int, squeezed: int) -> None:
        super().__init__()
        self.split = [distilled, features - distilled]
        self.c1 = conv(features, features)
        self.c2 = conv(features - distilled, features)
        self.c3 = conv(features - distilled, features)
        self.c4 = conv(features - distilled, distilled)
        self.c5 = conv(4 * distilled, features, 1)
        self.cca = ContrastAttention(4 * distilled, squeezed) if squeezed else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, features, H, W)`` to the same shape."""
        kept = []
        rest = x
        for layer in (self.c1, self.c2, self.c3):
            distilled, rest = torch.split(F.leaky_relu(layer(rest), DISTILLATION_SLOPE), self.split, dim=1)
            kept.append(distilled)
        kept.append(self.c4(rest))
        residual: Tensor = self.c5(self.cca(torch.cat(kept, dim=1)))
        return x + residual


class IMDN(DistillationNetwork):
    """IMDN under its authors' parameter names; input and output in 0–1.

    ``squeezed`` 0 is the simplified form of AIM 2019 that KAIR trains: no attention, no fusion of the blocks' outputs.
    """

    def __init__(
        self, scale: int, blocks: int, features: int, distilled: int, squeezed: int, channels: int = 3
    ) -> None:
        modules = [DistillationBlock(features, distilled, squeezed) for _ in range(blocks)]
        super().__init__(scale, features, "IMDB", modules, channels, fused=squeezed > 0)


def _hyperparameters(state: State, _scale: int | None) -> Hyperparameters:
    attention = state.get("IMDB1.cca.conv_du.0.weight")
    channels = image_channels(state["fea_conv.weight"].shape[1])
    return {
        "scale": pixel_shuffle_scale(state, "upsampler.{}.weight", features=channels),
        "blocks": count(state, "IMDB{}."),
        "features": state["fea_conv.weight"].shape[0],
        "distilled": state["IMDB1.c4.weight"].shape[0],
        "squeezed": 0 if attention is None else attention.shape[0],
        "channels": channels,
    }


def _from_kair(state: State) -> State:
    """KAIR numbers everything from 0, in one sequence: first convolution, trunk with its last one, upsampler."""
    return rename_keys(
        state,
        (r"^model\.1\.sub\.(\d{1,9})\.conv(\d)\.(0\.)?", lambda match: f"IMDB{int(match[1]) + 1}.c{match[2]}."),
        (r"^model\.1\.sub\.(\d{1,9})\.conv1x1\.", lambda match: f"IMDB{int(match[1]) + 1}.c5."),
        (r"^model\.1\.sub\.\d+\.", "LR_conv."),
        (r"^model\.0\.", "fea_conv."),
        (r"^model\.2\.", "upsampler.0."),
    )


ARCHITECTURE = Architecture(
    name="imdn",
    title="IMDN (Hui et al. 2019)",
    dialects=(
        Dialect(
            keys=(
                "fea_conv.weight",
                "IMDB1.c1.weight",
                "IMDB1.cca.conv_du.0.weight",
                "c.0.weight",
                "LR_conv.weight",
                "upsampler.0.weight",
            )
        ),
        Dialect(
            keys=(
                "model.0.weight",
                "model.1.sub.0.conv1.0.weight",
                "model.1.sub.0.conv4.weight",
                "model.1.sub.0.conv1x1.weight",
                "model.2.weight",
            ),
            rename=_from_kair,
        ),
    ),
    hyperparameters=_hyperparameters,
    build=IMDN,
)
