"""An SR network together with what dfsq knows about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


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


@dataclass(frozen=True)
class Quantization:
    """How a network was quantized: what an artifact carries beside its tensors."""

    recipe: Mapping[str, Any]
    """Every choice of the recipe; JSON types only."""
    calibration: Mapping[str, Any]
    """Number and size of the patches and their SHA-256 fingerprint."""


class SRModel(nn.Module):
    """A super-resolution network behind one interface, whatever its own input range is.

    ``forward`` takes RGB images ``(N, 3, H, W)``, float32 in 0–1, and returns ``(N, 3, scale·H, scale·W)`` in the same
    range, not clamped. ``net`` is the network itself with the checkpoint's parameter names; quantized layers live
    inside it.
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
        images = images.contiguous(memory_format=torch.channels_last)
        result: Tensor = self.net(images * self.info.rgb_range) / self.info.rgb_range
        return result
