"""Where the inputs of a layer lie, and where its levels are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from calibration.analysis.parts import Part, quantizer_of
from dfsq.errors import UsageError
from dfsq.evaluation.histogram import histogram as histogram_of
from dfsq.model import SRModel
from dfsq.report.signals import Histogram

BINS = 32


@torch.inference_mode()
def histogram(full: SRModel, part: Part, name: str, images: Sequence[Tensor], bins: int = BINS) -> Histogram:
    """Of what the layer or place ``name`` is given in ``full``, and the levels of ``part``, its quantized counterpart.

    ``images``: LR, ``(1, 3, h, w)`` in 0–1. Raises :class:`UsageError` where the input stays in full precision, and
    where no image reaches it.
    """
    quantizer = quantizer_of(part)
    if quantizer is None:
        raise UsageError(f"the input of {name} stays in full precision: it has no levels")
    seen: list[Tensor] = []

    def keep(_layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(quantizer.normalized(inputs[0]).float().flatten().cpu())

    handle = full.net.get_submodule(name).register_forward_pre_hook(keep)
    try:
        for image in images:
            full(image)
    finally:
        handle.remove()
    if not seen:
        raise UsageError(f"no image reaches {name}")
    return histogram_of(quantizer, torch.cat(seen), bins)
