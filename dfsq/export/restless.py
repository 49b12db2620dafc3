"""How far a quantized network is from itself when its sums are rounded in another way.

An engine adds up in another order than torch. Of values that lie between two codes, a few in a million then get the
other code, and a network that amplifies from block to block makes that visible: no engine, and no second version of
torch, gives the same picture. What an engine may differ by is measured, therefore, by doing the same in torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dfsq.model import SRModel
from dfsq.nn import quantized_layers, quantized_places

_ROUNDING = 2.0**-21
"""Relative size of the differences: some roundings of float32, as sums of hundreds of products collect."""


@contextmanager
def restless(model: SRModel, seed: int) -> Iterator[SRModel]:
    """``model``, with the outputs of its quantized layers, and what its quantized places are given, off by what another
    order of summation would do."""
    generator = torch.Generator().manual_seed(seed)

    def disturbed(x: Tensor) -> Tensor:
        noise = torch.rand(x.shape, generator=generator).to(x.device) - 0.5
        return x + x.abs().amax() * _ROUNDING * noise

    handles = [
        layer.register_forward_hook(lambda _, inputs, output: disturbed(output))
        for _, layer in quantized_layers(model.net)
    ]
    handles += [
        place.register_forward_pre_hook(lambda _, inputs: (disturbed(inputs[0]),))
        for _, place in quantized_places(model.net)
    ]
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()
