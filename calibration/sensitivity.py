"""How strongly the network's output reacts to errors at the input and at the output of every layer.

To first order an error e at one place adds eᵀ(JᵀJ)e to the squared error of the output, where J is the derivative of
the output by that place. Its expectation needs no labels: with random signs v, E[Jᵀv vᵀJ] = JᵀJ (Hutchinson, 1990).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from calibration.progress import Progress
from dfsq.errors import UsageError
from dfsq.model import SRModel
from dfsq.nn import channel_axis


@dataclass
class Sensitivity:
    """Channel by channel, summed over positions, per output value and image: float64, symmetric."""

    inputs: Tensor
    """``(C_in, C_in)``."""
    outputs: Tensor
    """``(C_out, C_out)``."""


def measure(
    model: SRModel, names: Sequence[str], batches: Iterable[Tensor], seed: int, progress: Progress
) -> dict[str, Sensitivity]:
    """Sensitivities of the layers called ``names`` on LR ``batches`` ``(N, 3, H, W)`` in 0–1, one image at a time.

    Layers that no image reaches are left out.
    """
    generator = torch.Generator().manual_seed(seed)
    reached: list[tuple[str, str, int, Tensor]] = []
    handles = []
    for name in names:
        layer = model.net.get_submodule(name)
        handles += _record(layer, name, channel_axis(layer), reached)
    sums: dict[tuple[str, str], Tensor] = {}
    images = [image for batch in batches for image in torch.split(batch, 1)]
    try:
        for done, image in enumerate(images):
            progress("Measuring sensitivity", done, len(images))
            reached.clear()
            with torch.inference_mode(False), torch.enable_grad():
                output = model(image.clone().requires_grad_())
                if not output.requires_grad:
                    raise UsageError(
                        "the network takes no gradients (no_grad or detach in its forward pass), which `compensation`, "
                        "`feedback`, `avg_bits` and `max_drop` need; do without them"
                    )
                signs = torch.randint(0, 2, output.shape, generator=generator).to(output) * 2 - 1
                tensors = [tensor for *_, tensor in reached]
                gradients = torch.autograd.grad(output, tensors, signs, allow_unused=True)
            for (name, side, axis, _), gradient in zip(reached, gradients, strict=True):
                if gradient is not None:
                    rows = gradient.movedim(axis, -1).flatten(0, -2)
                    total = (rows.T @ rows).double().cpu() / (output.numel() * len(images))
                    sums[name, side] = sums.get((name, side), 0) + total
    finally:
        for handle in handles:
            handle.remove()
    progress("Measuring sensitivity", len(images), len(images))
    return {
        name: Sensitivity(sums[name, "inputs"], sums[name, "outputs"]) for name in names if (name, "inputs") in sums
    }


def _record(
    layer: nn.Module, name: str, axis: int, reached: list[tuple[str, str, int, Tensor]]
) -> list[RemovableHandle]:
    """Note what goes into ``layer`` and what comes out; copies, as others may share the input."""

    def before(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        x = inputs[0].clone()
        reached.append((name, "inputs", axis, x))
        return (x,)

    def after(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        output = output.clone()
        reached.append((name, "outputs", axis, output))
        return output

    return [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]
