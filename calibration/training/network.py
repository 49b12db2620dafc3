"""A quantized network taken apart for training, and put together again."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from calibration.models import copied
from calibration.training.latent import LatentLayer
from dfsq.model import SRModel
from dfsq.nn import replace


def with_layers(model: SRModel, layers: Mapping[str, nn.Module]) -> SRModel:
    """A copy of ``model`` with ``layers`` by name in the place of its own."""
    result = copied(model)
    for name, layer in layers.items():
        replace(result.net, name, layer)
    return result


def frozen(start: SRModel, student: SRModel) -> SRModel:
    """``start`` with its layers as they have become in ``student``."""
    layers = {name: each.frozen() for name, each in student.net.named_modules() if isinstance(each, LatentLayer)}
    return with_layers(start, layers)
