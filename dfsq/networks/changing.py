"""Buffers that a network changes when it runs: counters, masks for the size of the last image.

They are no part of a network: an artifact that held the mask of one size would not load.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def buffers(net: nn.Module) -> Mapping[str, Tensor]:
    """Copies of the buffers that the state of ``net`` holds, by name."""
    stored = net.state_dict().keys()
    return {name: buffer.clone() for name, buffer in net.named_buffers() if name in stored}


def forget_changed(net: nn.Module, before: Mapping[str, Tensor]) -> frozenset[str]:
    """Names of the buffers of ``net`` that are not what they were ``before``.

    They get back what they were, and are not part of its state from now on.
    """
    changed = []
    for name, now in buffers(net).items():
        then = before.get(name)
        if then is None or then.shape != now.shape or not torch.equal(then, now):
            _register(net, name, now if then is None else then, persistent=False)
            changed.append(name)
    return frozenset(changed)


def remember(net: nn.Module, state: Mapping[str, Tensor], changed: frozenset[str]) -> frozenset[str]:
    """Take those ``changed`` buffers back into the state of ``net`` that ``state`` can fill, and return the others.

    What a network without weights changes, a flag that it has seen data for example, a trained one may keep.
    """
    known = dict(net.named_buffers())
    filled = {name for name in changed if name in state and state[name].shape == known[name].shape}
    for name in filled:
        _register(net, name, known[name], persistent=True)
    return changed - filled


def _register(net: nn.Module, name: str, buffer: Tensor, persistent: bool) -> None:
    parent, _, leaf = name.rpartition(".")
    net.get_submodule(parent).register_buffer(leaf, buffer, persistent)
