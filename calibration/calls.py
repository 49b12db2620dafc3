"""What of a network is called in a forward pass, and how much there is to do for it in sequential calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from calibration.given import SHARE
from dfsq.model import SRModel


@dataclass(frozen=True)
class Calls:
    """The calls of a module."""

    number: int = 0
    work: float = 0.0
    """Multiply-adds for an image."""


def count_calls(model: SRModel, names: Sequence[str], image: Tensor) -> Mapping[str, Calls]:
    """The calls of the modules called ``names`` in a forward pass of LR ``image`` ``(1, 3, H, W)`` in 0–1."""
    calls = dict.fromkeys(names, Calls())

    def count(name: str, module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[name] = Calls(calls[name].number + 1, calls[name].work + _work(module, output))

    handles = [model.net.get_submodule(name).register_forward_hook(partial(count, name)) for name in names]
    try:
        model(image)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _work(module: nn.Module, output: Tensor) -> float:
    """Multiply-adds for an image of which a layer makes ``output``: in both networks, and of two kinds of moments."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, torch.Tensor):
        return 0.0
    outputs, inputs = len(weight), weight[0].numel()
    positions = output.numel() / outputs
    return 2 * positions * inputs * (outputs + getattr(module, "groups", 1) * inputs / SHARE)
