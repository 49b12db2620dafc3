"""A pass of a model over images, while functions look at what its layers are given and what they make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from dfsq.model import SRModel

Look = Callable[[Tensor], None]


@torch.inference_mode()
def watch(
    model: SRModel, batches: Iterable[Tensor], inputs: Mapping[str, Look], outputs: Mapping[str, Look] | None = None
) -> None:
    """Run ``model`` over LR ``batches`` ``(N, 3, H, W)`` in 0–1, one image at a time.

    Layers are named; ``inputs`` and ``outputs`` are called with every tensor that the layer reads, and makes.
    """
    handles = []
    for name, look in inputs.items():
        layer = model.net.get_submodule(name)
        handles.append(layer.register_forward_pre_hook(lambda _, xs, look=look: look(xs[0])))
    for name, look in (outputs or {}).items():
        layer = model.net.get_submodule(name)
        handles.append(layer.register_forward_hook(lambda _, xs, y, look=look: look(y)))
    try:
        for batch in batches:
            for image in torch.split(batch, 1):
                model(image)
    finally:
        for handle in handles:
            handle.remove()
