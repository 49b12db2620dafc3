"""FSRCNN (Dong et al., ECCV 2016, §3): a narrow network with a transposed convolution at its end."""

from __future__ import annotations

from torch import Tensor, nn

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
KERNEL = 9
"""Size of the transposed convolution, the same at every scale."""


class FSRCNN(nn.Module):
    """FSRCNN under the parameter names of its best known PyTorch port; input and output in 0–1.

    ``features``, ``shrunken`` and ``mappings`` are d, s and m of the paper: 56, 12 and 4.
    """

    def __init__(self, scale: int, features: int, shrunken: int, mappings: int, channels: int = 3) -> None:
        super().__init__()
        self.first_part = nn.Sequential(conv(channels, features, 5), nn.PReLU(features))
        middle = [conv(features, shrunken, 1), nn.PReLU(shrunken)]
        for _ in range(mappings):
            middle += [conv(shrunken, shrunken), nn.PReLU(shrunken)]
        self.mid_part = nn.Sequential(*middle, conv(shrunken, features, 1), nn.PReLU(features))
        self.last_part = nn.ConvTranspose2d(
            features, channels, KERNEL, stride=scale, padding=KERNEL // 2, output_padding=scale - 1
        )

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, channels, H, W)``."""
        output: Tensor = self.last_part(self.mid_part(self.first_part(x)))
        return output


def _hyperparameters(state: State, scale: int | None) -> Hyperparameters:
    first = state["first_part.0.weight"].shape
    return {
        "scale": chosen_scale(scale, SCALES),
        "features": first[0],
        "shrunken": state["mid_part.0.weight"].shape[0],
        # What remains without shrinking and expanding; every convolution is followed by its activation.
        "mappings": count(state, "mid_part.{}.") // 2 - 2,
        "channels": image_channels(first[1]),
    }


def _from_stages(state: State) -> State:
    """The same layers in a sequence for every stage of the paper."""
    mapped = count(state, "map.{}.")
    return rename_keys(
        state,
        (r"^feature_extraction\.", "first_part."),
        (r"^shrink\.", "mid_part."),
        (r"^map\.(\d{1,9})\.", lambda match: f"mid_part.{2 + int(match[1])}."),
        (r"^expand\.(\d{1,9})\.", lambda match: f"mid_part.{2 + mapped + int(match[1])}."),
        (r"^deconv\.", "last_part."),
    )


ARCHITECTURE = Architecture(
    name="fsrcnn",
    title="FSRCNN (Dong et al. 2016)",
    dialects=(
        Dialect(keys=("first_part.0.weight", "first_part.1.weight", "mid_part.0.weight", "last_part.weight")),
        Dialect(
            keys=(
                "feature_extraction.0.weight",
                "shrink.0.weight",
                "map.0.weight",
                "expand.0.weight",
                "deconv.weight",
            ),
            rename=_from_stages,
        ),
    ),
    hyperparameters=_hyperparameters,
    build=FSRCNN,
    hidden=lambda _: {"scale": SCALES},
)
