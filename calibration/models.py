"""What every method does with a model before it works on it."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn

from dfsq.errors import UsageError
from dfsq.model import SRModel
from dfsq.nested import tensors_in
from dfsq.networks.own import check_wrapped


def check_full_precision(model: SRModel) -> None:
    """Raise :class:`UsageError` for a network that is not wrapped, and for a model that is quantized already."""
    check_wrapped(model, "quantize")
    if model.quantization is not None:
        raise UsageError("the model is quantized already; start from the full-precision checkpoint")


def copied(model: SRModel) -> SRModel:
    """A copy that shares nothing with ``model``. Raises :class:`UsageError` where that cannot be made."""
    # Networks keep maps in themselves, and after a pass with gradients torch does not copy those.
    left = (each for module in model.modules() for each in tensors_in(list(vars(module).values())))
    memo: dict[int, object] = {id(each): each.detach().clone() for each in left if not each.is_leaf}
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:  # whatever a network of the user's own holds
        raise UsageError(f"{model.info.architecture} holds what cannot be copied: {error}") from error


def with_own_state(model: SRModel, shared: Iterable[nn.Module]) -> SRModel:
    """A copy for another thread: what forward passes leave in modules is its own; tensors, and the modules ``shared``,
    are those of ``model``."""
    kept: list[object] = [*model.parameters(), *model.buffers(), *shared]
    return copy.deepcopy(model, {id(each): each for each in kept})


def device_of(model: SRModel) -> torch.device:
    """Where the parameters of ``model`` are."""
    return next(model.parameters()).device
