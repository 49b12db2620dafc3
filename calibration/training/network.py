"""A quantized network taken apart for training, and put together again."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn

from calibration.models import copied
from calibration.training.latent import LatentLayer
from calibration.training.precision import InPrecision
from dfsq.model import SRModel
from dfsq.networks.scope import QUANTIZABLE, shifts_colours
from dfsq.nn import replace


def with_layers(model: SRModel, layers: Mapping[str, nn.Module]) -> SRModel:
    """A copy of ``model`` with ``layers`` by name in the place of its own."""
    result = copy.deepcopy(model)
    for name, layer in layers.items():
        replace(result.net, name, layer)
    return result


def in_precision(model: SRModel, precision: torch.dtype) -> SRModel:
    """A copy of ``model`` whose layers take their products in ``precision``, all but those that shift colours."""
    if precision == torch.float32:
        return copied(model)
    layers = {
        name: InPrecision(each, precision)
        for name, each in model.net.named_modules()
        if isinstance(each, QUANTIZABLE) and not shifts_colours(each)
    }
    return with_layers(model, layers)


def frozen(start: SRModel, student: SRModel) -> SRModel:
    """``start`` with its layers as they have become in ``student``."""
    layers = {name: each.frozen() for name, each in student.net.named_modules() if isinstance(each, LatentLayer)}
    return with_layers(start, layers)
