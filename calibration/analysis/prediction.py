"""What the errors of each layer are predicted to cost the network's output, without running it once for each.

To first order an error e of a layer adds |Je|² to the squared error of the output, and with random signs v the
expectation of ((Jᵀv) · e)² is just that. One sample of it says little. So errors count as they are within a square of
the map, and as independent from one square to the next: each of them is a sample of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calibration import sensitivity
from calibration.analysis.parts import Part
from calibration.progress import Progress
from dfsq.model import SRModel
from dfsq.nn import channel_axis

_SIDE = 8
"""Of a square, in pixels of the map."""
_PROBES = 2
"""Draws of signs for every image."""


def predicted_errors(
    full: SRModel, parts: Mapping[str, Part], images: Sequence[Tensor], progress: Progress
) -> dict[str, float]:
    """Mean squared error of the output from each of ``parts``, in whose place the layers of ``full`` run.

    ``images`` are LR, ``(1, 3, h, w)`` in 0–1, and so are the values that errors are of. Raises :class:`UsageError` for
    a network that takes no gradients.
    """
    sums = dict.fromkeys(parts, 0.0)
    draws = [(image, seed) for image in images for seed in range(_PROBES)]
    for done, (image, seed) in enumerate(draws):
        progress("Measuring sensitivity", done, len(draws))
        probes = {name: _Probe(part, channel_axis(full.net.get_submodule(name))) for name, part in parts.items()}
        handles = [full.net.get_submodule(name).register_forward_hook(each.look) for name, each in probes.items()]
        try:
            hear = {name: each.hear for name, each in probes.items()}
            values = sensitivity.gradients(full, hear, image, seed)
        finally:
            for handle in handles:
                handle.remove()
        for name, each in probes.items():
            sums[name] += each.squares / values / len(draws)
    progress("Measuring sensitivity", len(draws), len(draws))
    return sums


class _Probe:
    """The errors of one layer in a forward pass, and what the gradient makes of them on its way back."""

    def __init__(self, part: Part, axis: int) -> None:
        self._part = part
        self._axis = axis
        self._errors: list[Tensor] = []
        self.squares = 0.0

    def look(self, _layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Note what the part would have given otherwise."""
        with torch.no_grad():
            self._errors.append(self._part(inputs[0].detach()) - output.detach())

    def hear(self, side: str, gradient: Tensor) -> None:
        """Take the ``gradient`` at the output; of several calls that of the last one comes first."""
        if side == "outputs" and self._errors:
            products = (gradient * self._errors.pop()).double().sum(self._axis)
            self.squares += float(_by_square(products).square().sum())


def _by_square(values: Tensor) -> Tensor:
    """Sums over squares of maps ``(N, H, W)``; over as many values in a row of what has no height and width."""
    if values.dim() != 3:
        values, sides = values.flatten(1)[:, None], (1, _SIDE**2)
    else:
        sides = (_SIDE, _SIDE)
    missing = [-length % side for length, side in zip(values.shape[1:], sides, strict=True)]
    padded = F.pad(values, (0, missing[1], 0, missing[0]))[:, None]
    return F.avg_pool2d(padded, sides, divisor_override=1)
