"""The maps that DDTB's attention loss compares: what enters the upsampler."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dfsq.model import SRModel

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


@torch.inference_mode()
def called(model: SRModel, image: Tensor) -> dict[str, tuple[int, ...]]:
    """Names of the modules of ``model.net`` that run on LR ``image`` ``(N, 3, h, w)``, in order of their last call.

    Each with the shape of its first argument; those without any are left out.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, arguments: tuple[object, ...]) -> None:
        if arguments and isinstance(arguments[0], Tensor):
            shapes.pop(name, None)
            shapes[name] = tuple(arguments[0].shape)

    handles = [
        module.register_forward_pre_hook(lambda _, arguments, name=name: note(name, arguments))
        for name, module in model.net.named_modules()
    ]
    try:
        model(image)
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def upsampler(model: SRModel, image: Tensor) -> str:
    """The layer that reads what enters the upsampler: the last convolution on maps as large as LR ``image``.

    Networks that enlarge before their first convolution have none; there it is the last of all convolutions.
    """
    shapes = called(model, image)
    layers = [name for name in shapes if isinstance(model.net.get_submodule(name), _CONVOLUTIONS)]
    at_lr = [name for name in layers if shapes[name][-2:] == image.shape[-2:]]
    return (at_lr or layers)[-1]


def with_maps(model: SRModel, name: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """What ``model`` makes of LR ``images``, and what its layer ``name`` was given meanwhile."""
    seen: list[Tensor] = []
    handle = model.net.get_submodule(name).register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    try:
        output: Tensor = model(images)
    finally:
        handle.remove()
    return output, seen[-1]
