"""What the layers of a full-precision model are given, seen by observers in one pass over the images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from calibration.images import PatchStream
from calibration.layers import Observer, Rounding
from calibration.models import device_of
from calibration.progress import Progress
from calibration.ranges import ChannelRanges
from dfsq import distributed
from dfsq.errors import UsageError
from dfsq.model import SRModel


@torch.inference_mode()
def observe(
    model: SRModel,
    names: list[str],
    images: PatchStream | Iterable[Tensor],
    rounding: Rounding,
    progress: Progress,
    extremes: Mapping[str, ChannelRanges] | None = None,
) -> dict[str, Observer]:
    """Run the full-precision model over all images and return what the layers called ``names`` were given.

    One image at a time: in larger batches a convolution may round differently. Several processes take turns.
    Raises :class:`UsageError` where there are no images.
    """
    observers: dict[str, Observer] = {}
    handles = []
    for name in names:
        layer = model.net.get_submodule(name)
        observer = observers[name] = rounding.observer(layer, (extremes or {}).get(name))
        handles.append(layer.register_forward_pre_hook(partial(_watch, observer)))
    total = images.patches if isinstance(images, PatchStream) else 0
    done = 0
    try:
        device = device_of(model)
        for image in (image for batch in images for image in batch.unsqueeze(1)):
            if distributed.is_mine(done):
                progress("Calibrating", done, total)
                model(image.to(device))
            done += 1
    finally:
        for handle in handles:
            handle.remove()
    if not done:
        raise UsageError("no calibration images were given")
    for observer in observers.values():
        observer.reduce(device)
    progress("Calibrating", done, done)
    return observers


def _watch(observer: Observer, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    observer.observe(inputs[0])
