"""How strongly the network's output reacts to errors at the input and at the output of every layer.

To first order an error e at one place adds eᵀ(JᵀJ)e to the squared error of the output, where J is the derivative of
the output by that place. Its expectation needs no labels: with random signs v, E[Jᵀv vᵀJ] = JᵀJ (Hutchinson, 1990).
Errors of luma count more than others: JᵀR²J, by signs that :mod:`calibration.luma` has weighed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from calibration.luma import weighed
from calibration.models import with_own_state
from calibration.progress import Progress
from dfsq import distributed
from dfsq.errors import UsageError
from dfsq.model import SRModel
from dfsq.nn import channel_axis

Hear = Callable[[str, Tensor], None]
"""Is told ``inputs`` or ``outputs``, and the gradient there."""

_NO_GRADIENTS = (
    "the network takes no gradients ({}), which `compensation`, `feedback`, `avg_bits` and `max_drop` need; "
    "do without them, as the recipe fast does"
)


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

    Layers that no image reaches are left out. Several processes share the images.
    """
    model = with_own_state(model, ())  # what passes leave in modules, and the graph that hangs on it, goes with them
    images = [image for batch in batches for image in torch.split(batch, 1)]
    seeds = torch.randint(2**62, (len(images),), generator=torch.Generator().manual_seed(seed)).tolist()
    sums: dict[tuple[str, str], Tensor] = {}

    def measured(index: int) -> dict[tuple[str, str], Tensor]:
        progress("Measuring sensitivity", index, len(images))
        return _squares(model, names, images[index], seeds[index])

    for some in distributed.rounds(range(len(images))):
        for found in distributed.share(some, measured):
            for key, each in found.items():
                sums[key] = sums.get(key, 0) + each.double() / len(images)
    progress("Measuring sensitivity", len(images), len(images))
    return {
        name: Sensitivity(sums[name, "inputs"], sums[name, "outputs"]) for name in names if (name, "inputs") in sums
    }


def _squares(model: SRModel, names: Sequence[str], image: Tensor, seed: int) -> dict[tuple[str, str], Tensor]:
    """Second moments of the gradients that one image gives where layers read and write, per output value: on the CPU.

    Each is taken when it passes: all of them at once would be as large as all maps.
    """
    sums: dict[tuple[str, str], Tensor] = {}
    axes = {name: channel_axis(model.net.get_submodule(name)) for name in names}
    hear = {name: partial(_add, sums, name, axis) for name, axis in axes.items()}
    values = gradients(model, hear, image, seed, weighed)
    return {key: each.cpu() / values for key, each in sums.items()}


def gradients(
    model: SRModel,
    hear: Mapping[str, Hear],
    image: Tensor,
    seed: int,
    weigh: Callable[[Tensor], Tensor] | None = None,
) -> int:
    """Take the gradient Jᵀv of one ``image`` ``(1, 3, h, w)`` in 0–1, for random signs v that follow from ``seed``.

    ``weigh`` may change v, ``(1, 3, H, W)``. ``hear`` is told the gradient where layers, by name, read and write:
    ``inputs`` or ``outputs``, and a tensor of that shape. Returns how many values the output has. Raises
    :class:`UsageError` for a network that takes no gradients.
    """
    handles: list[RemovableHandle] = []
    for name, each in hear.items():
        handles += _listen(model.net.get_submodule(name), each)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            image = image.clone().requires_grad_()
            output = model(image)
            if not output.requires_grad:
                raise UsageError(_NO_GRADIENTS.format("no_grad or detach in its forward pass"))
            signs = torch.randint(0, 2, output.shape, generator=torch.Generator().manual_seed(seed)).to(output) * 2 - 1
            if weigh is not None:
                signs = weigh(signs)
            try:
                torch.autograd.grad(output, image, signs, allow_unused=True)
            except RuntimeError as error:
                if "inplace" not in str(error):
                    raise
                raise UsageError(_NO_GRADIENTS.format("its forward pass overwrites maps that they need")) from error
    finally:
        for handle in handles:
            handle.remove()
    return int(output.numel())


def _add(sums: dict[tuple[str, str], Tensor], name: str, axis: int, side: str, gradient: Tensor) -> None:
    rows = gradient.movedim(axis, -1).flatten(0, -2)
    sums[name, side] = sums.get((name, side), 0) + rows.T @ rows


def _listen(layer: nn.Module, hear: Hear) -> list[RemovableHandle]:
    """Have ``hear`` be told ``inputs`` and ``outputs`` of ``layer``, and the gradient there."""

    def listen(x: Tensor, side: str) -> None:
        if x.requires_grad:  # else no gradient comes this way
            x.register_hook(partial(hear, side))  # type: ignore[no-untyped-call]

    def before(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        x = inputs[0].clone()  # others may share it, or change it afterwards
        listen(x, "inputs")
        return (x,)

    def after(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        listen(output, "outputs")

    return [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]
