"""A spandrel network by its description: its class, the constructor's arguments, and what a caller must know.

Every class of spandrel keeps the arguments that it was built with, in ``hyperparameters``. Built from them, a network
computes its index tables and attention masks itself, so that no file needs to hold those buffers.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dfsq.networks.architecture import Hyperparameters, State
from dfsq.networks.blocks import pad_to_multiple

_FLAG = 64
"""Largest number of elements of a flag, a version or a counter: networks look for them when they load a state."""
_LARGEST_NUMBER, _LONGEST_LIST = 1024, 64
"""What an argument may be, however small the state: sizes of training images are such numbers."""
_LARGEST_PADDING = 1024
"""Largest size or multiple that a description may ask an image to be padded to."""


class AnySize:
    """Mixed into a spandrel network: pads its input to a size that it can process, and crops its output."""

    dfsq_size: dict[str, int]
    dfsq_scale: int

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, C, H, W)`` of any height and width. Raises ValueError where the scale is another one."""
        height, width = x.shape[-2:]
        size, scale = self.dfsq_size, self.dfsq_scale
        minimum = max(height, width, size["minimum"]) if size["square"] else size["minimum"]
        padded = pad_to_multiple(x, size["multiple_of"], minimum)
        output: Tensor = super().forward(padded)  # type: ignore[misc]
        if output.shape[-2:] != (scale * padded.shape[-2], scale * padded.shape[-1]):
            raise ValueError(f"it does not upscale by {scale}")
        return output[..., : height * scale, : width * scale]


def describe(descriptor: Any) -> Hyperparameters:
    """The description of the network that spandrel loaded; JSON types only.

    Arguments that JSON does not know (classes of layers) are left out; spandrel's detection never sets them to
    anything but their defaults. ``computed`` is empty: see :func:`computed_buffers`.
    """
    needs = descriptor.size_requirements
    return {
        "scale": descriptor.scale,
        "network": next(name for name, each in _classes(descriptor.architecture) if each is type(descriptor.model)),
        "arguments": {
            name: json.loads(json.dumps(value))
            for name, value in descriptor.model.hyperparameters.items()
            if _is_plain(value)
        },
        "size": {name: int(getattr(needs, name)) for name in ("minimum", "multiple_of", "square")},
        "computed": [],
    }


def construct(architecture: Any, description: Hyperparameters, state: State) -> nn.Module:
    """Build the network for ``state``, with whatever parameters its constructor gives it.

    ``architecture`` is spandrel's. Raises what spandrel raises, and ValueError for a description that cannot be.
    """
    largest = max([_LARGEST_NUMBER, *(size for tensor in state.values() for size in tensor.shape)])
    _check_argument(description["arguments"], largest, len(state))
    size = {name: _bounded(description["size"][name]) for name in ("minimum", "multiple_of", "square")}
    net = dict(_classes(architecture))[description["network"]](**description["arguments"])
    keep_inference_branch(net)
    # A subclass rather than a wrapper: parameters keep their names.
    net.__class__ = type(type(net).__name__, (AnySize, type(net)), {})
    net.dfsq_size = size  # type: ignore[assignment]
    net.dfsq_scale = description["scale"]
    return net.eval()


def computed_buffers(net: nn.Module, state: State) -> list[str]:
    """Attribute names of the buffers that ``net``, just constructed, has exactly as ``state`` has them.

    Buffers no larger than a flag are none of them.
    """
    attributes: set[str] = set()
    others: set[str] = set()
    for name, _, attribute in _buffers(net):
        buffer = net.get_buffer(name)
        computed = buffer.numel() > _FLAG and name in state and torch.equal(buffer, state[name])
        (attributes if computed else others).add(attribute)
    return sorted(attributes - others)


def leave_out(net: nn.Module, computed: Collection[str]) -> None:
    """Take the buffers with these attribute names out of the state of ``net``; they stay in use."""
    for name, owner, attribute in _buffers(net):
        if attribute in computed:
            owner.register_buffer(attribute, net.get_buffer(name), persistent=False)


def keep_inference_branch(net: nn.Module, recompute: bool = False) -> None:
    """Keep of SPAN's multi-branch convolutions only the one that inference uses; ``recompute`` its weights first.

    spandrel computes its weights anew in every forward pass, which would undo their quantization.
    """
    for name, block in list(net.named_modules()):
        if hasattr(block, "eval_conv") and hasattr(block, "update_params"):
            if recompute:
                block.update_params()
            parent, _, attribute = name.rpartition(".")
            fused = nn.Sequential(OrderedDict(eval_conv=block.eval_conv))
            setattr(net.get_submodule(parent), attribute, fused)


def _buffers(net: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Name, owner and attribute of every buffer that is part of the state."""
    stored = net.state_dict()
    for name, _ in list(net.named_buffers(remove_duplicate=False)):
        if name in stored:
            owner, _, attribute = name.rpartition(".")
            yield name, net.get_submodule(owner), attribute


def _classes(architecture: Any) -> Iterator[tuple[str, type[nn.Module]]]:
    """The network classes that ``architecture`` builds, by the names it knows them by."""
    module = sys.modules[type(architecture).__module__]
    for name, each in vars(module).items():
        if isinstance(each, type) and issubclass(each, nn.Module) and each.__module__.startswith(module.__name__):
            yield name, each


def _bounded(size: Any) -> int:
    if isinstance(size, int) and 0 <= size <= _LARGEST_PADDING:
        return size
    raise ValueError(f"an image cannot be padded to {size!r} pixels; the limit is {_LARGEST_PADDING}")


def _check_argument(value: Any, largest: int, longest: int) -> None:
    """Raise ValueError for numbers and lists by which a constructor would make far more than a state has."""
    if isinstance(value, int | float) and not abs(value) <= largest:
        raise ValueError(f"an argument is {value:g}; the state allows {largest} at most")
    if isinstance(value, list | dict):
        if len(value) > max(longest, _LONGEST_LIST):
            raise ValueError(f"an argument has {len(value)} entries; the state has only {longest} tensors")
        for each in value.values() if isinstance(value, dict) else value:
            _check_argument(each, largest, longest)


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
