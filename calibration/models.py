"""What every method does with a model before it works on it."""

from __future__ import annotations

import copy

import torch

from dfsq.errors import UsageError
from dfsq.model import SRModel
from dfsq.networks.own import check_wrapped


def check_full_precision(model: SRModel) -> None:
    """Raise :class:`UsageError` for a network that is not wrapped, and for a model that is quantized already."""
    check_wrapped(model, "quantize")
    if model.quantization is not None:
        raise UsageError("the model is quantized already; start from the full-precision checkpoint")


def copied(model: SRModel) -> SRModel:
    """A copy that shares nothing with ``model``. Raises :class:`UsageError` where that cannot be made."""
    try:
        return copy.deepcopy(model)
    except Exception as error:  # whatever a network of the user's own holds
        raise UsageError(f"{model.info.architecture} holds what cannot be copied: {error}") from error


def device_of(model: SRModel) -> torch.device:
    """Where the parameters of ``model`` are."""
    return next(model.parameters()).device
