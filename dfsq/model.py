"""An SR network together with what dfsq knows about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from dfsq.evaluation.bicubic import enlarge
from dfsq.images.colour import grey_to_y, rgb_to_ycbcr, y_to_grey, ycbcr_to_rgb


@dataclass(frozen=True)
class NetworkInfo:
    """What identifies a network: enough to build it again and to feed it."""

    architecture: str
    """Name in the registry of :mod:`dfsq.networks`, for example ``"edsr"``."""
    hyperparameters: Mapping[str, Any]
    """Keyword arguments of the architecture's constructor, as read from shapes; JSON types only."""
    scale: int
    """Upscaling factor: output height and width are this many times the input's."""
    rgb_range: float
    """The network's own input and output range: 1 for 0–1, 255 for 0–255."""
    source: str = ""
    """File name (without its folder) of the checkpoint."""
    source_sha256: str = ""
    """SHA-256 of the checkpoint file, in hexadecimal."""
    channels: int = 3
    """Channels of the network's own input and output: 3 for RGB, 1 for luminance."""
    found: Mapping[str, str] = field(default_factory=dict)
    """How ``architecture``, ``scale``, ``rgb_range`` and ``weights`` were found, a short phrase each: name, shape,
    check or option."""
    fidelity: float | None = None
    """PSNR in dB of a photograph that the network enlarged and that was shrunk again, against itself; None where it was
    not checked."""
    code: Mapping[str, str] | None = None
    """For a network of the user's own: ``name``, what :func:`dfsq.load` got as ``arch``, and the ``sha256`` of that
    file; None for a network that dfsq knows."""

    def identified(self) -> dict[str, Any]:
        """What the network was taken for, and how that was found: JSON types only."""
        return {
            "rgb_range": self.rgb_range,
            "channels": self.channels,
            "found": dict(self.found),
            "fidelity": self.fidelity,
        }


@dataclass(frozen=True)
class Quantization:
    """How a network was quantized: what an artifact carries beside its tensors."""

    recipe: Mapping[str, Any]
    """Every choice of the recipe; JSON types only."""
    calibration: Mapping[str, Any]
    """Number and size of the patches and their SHA-256 fingerprint."""


class SRModel(nn.Module):
    """A super-resolution network behind one interface, whatever its own input range and channels are.

    ``forward`` takes RGB images ``(N, 3, H, W)``, float32 in 0–1, and returns ``(N, 3, scale·H, scale·W)`` in the same
    range, not clamped. A luminance network enlarges their Y (BT.601, studio range); Cb and Cr are enlarged bicubically.
    ``net`` is the network itself with the checkpoint's parameter names; quantized layers live inside it.
    """

    def __init__(
        self,
        net: nn.Module,
        info: NetworkInfo,
        body: tuple[str, ...],
        quantization: Quantization | None = None,
    ) -> None:
        super().__init__()
        # The one place that decides the layout: channels_last convolutions are about three times faster on a CPU.
        self.net = net.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.info = info
        self.body = body
        """Names, within ``net``, of the layers that quantization replaces (the body scope, DFSQ §4.1)."""
        self.quantization = quantization
        self.notes: tuple[str, ...] = ()
        """What whoever loaded the model should know, a line each: a range that was guessed, a file that has changed."""

    @property
    def scale(self) -> int:
        """Upscaling factor."""
        return self.info.scale

    def forward(self, images: Tensor) -> Tensor:
        """Upscale ``images`` ``(N, 3, H, W)`` in 0–1 to ``(N, 3, scale·H, scale·W)``, not clamped."""
        if self.info.channels == 3:
            return self._run(images)
        ycbcr = rgb_to_ycbcr(images)
        luma, chroma = self._run(ycbcr[:, :1]), enlarge(ycbcr[:, 1:], self.scale)
        return ycbcr_to_rgb(torch.cat((luma, chroma), dim=1))

    def upscale_grey(self, images: Tensor) -> Tensor:
        """Upscale ``images`` ``(N, 1, H, W)`` in 0–1 to ``(N, 1, scale·H, scale·W)``, not clamped.

        The mean of what an RGB network makes of three equal channels; a luminance network takes grey as Y.
        """
        if self.info.channels == 3:
            result: Tensor = self(images.expand(-1, 3, -1, -1))
            return result.mean(1, keepdim=True)
        return y_to_grey(self._run(grey_to_y(images)))

    def _run(self, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        result: Tensor = self.net(images * self.info.rgb_range) / self.info.rgb_range
        return result
