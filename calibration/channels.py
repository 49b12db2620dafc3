"""Which channels of which layers must be scaled alike, found by watching one forward pass.

Scaling a channel of a map by 1/f commutes with ReLU, pooling, splitting and much else; adding two maps asks that both
are scaled alike. Where a map meets an operator that is not known to commute, its channels stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from dfsq.model import SRModel

_COMMUTE = frozenset(
    (
        *(F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.leaky_relu, F.prelu, torch.prelu, F.dropout),
        *(F.max_pool2d, torch.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.interpolate),
        *(torch.mean, Tensor.mean, torch.std_mean, torch.std, Tensor.std),
        *(Tensor.contiguous, Tensor.clone, torch.clone, Tensor.detach, Tensor.to, Tensor.float),
    )
)
"""f(x / s) = f(x) / s per channel of the first argument, with s > 0."""
_ADD = frozenset(
    getattr(module, name)
    for module, names in ((torch, "add sub"), (Tensor, "add add_ sub sub_ __add__ __radd__ __iadd__ __sub__ __isub__"))
    for name in names.split()
)
_MULTIPLY = frozenset(
    getattr(module, name)
    for module, names in (
        (torch, "mul div"),
        (Tensor, "mul mul_ div div_ __mul__ __rmul__ __imul__ __truediv__ __itruediv__"),
    )
    for name in names.split()
)
_MOVE = frozenset(
    (torch.cat, torch.split, torch.chunk, torch.narrow, Tensor.split, Tensor.chunk, Tensor.narrow, Tensor.__getitem__)
)
FIXED = 0
"""Number of the channels that stay as they are."""


@dataclass(frozen=True)
class Channels:
    """Numbers of the channels that a layer reads and makes, int64 ``(C,)``: alike where they are scaled alike."""

    inputs: Tensor
    outputs: Tensor


@torch.no_grad()
def trace(model: SRModel, layers: Mapping[str, nn.Conv2d], image: Tensor) -> dict[str, Channels]:
    """The channels of ``layers`` that LR ``image`` ``(1, 3, H, W)`` reaches, by name."""
    watch = _Watch(layers)
    with watch:
        output = model(image)
    watch.fix(output)
    root = watch.roots()
    return {name: Channels(root[each.inputs], root[each.outputs]) for name, each in watch.found.items()}


class _Watch(TorchFunctionMode):
    """Follows channels by number through everything that torch computes."""

    def __init__(self, layers: Mapping[str, nn.Conv2d]) -> None:
        super().__init__()
        self.found: dict[str, Channels] = {}
        self._layers = layers
        self._names = {id(layer.weight): name for name, layer in layers.items()}
        self._parents = [FIXED]
        self._numbers: dict[int, tuple[Tensor, Tensor]] = {}  # with the tensors, whose ids are not to come again

    def roots(self) -> Tensor:
        """For every number the least one that it is tied to."""
        return torch.tensor([self._root(number) for number in range(len(self._parents))])

    def fix(self, *tensors: Tensor) -> None:
        """Leave the channels of ``tensors`` as they are."""
        for each in tensors:
            numbers = self._of(each)
            if numbers is not None:
                self._tie(numbers, torch.zeros_like(numbers))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = list(_tensors((args, kwargs)))
        before = [(each, self._of(each)) for each in tensors]
        result = func(*args, **kwargs)
        made = list(_tensors(result))
        if made and not self._follow(func, args, kwargs, before, made):
            self.fix(*tensors)
            for each in made:
                self._numbers.pop(id(each), None)
        return result

    def _follow(self, func: Any, args: Any, kwargs: Any, before: list[Any], made: list[Tensor]) -> bool:
        """Number the channels of what ``func`` has ``made``; False where they are none that were known."""
        if func is F.conv2d or func is torch.conv2d:
            return self._convolve(args, kwargs, made[0])
        known = [(each, numbers) for each, numbers in before if numbers is not None]
        if not known:
            return True
        if func in _MOVE:
            # The same movement of the numbers says where the channels went.
            args, kwargs = _mapped((args, kwargs), self._as_map)
            for each, moved in zip(made, _tensors(func(*args, **kwargs)), strict=True):
                if each.dim() != 4:
                    return False
                self._set(each, moved[0, :, 0, 0] if moved.numel() else None)
            return True
        numbers = known[0][1]
        if func in (F.pixel_shuffle, torch.pixel_shuffle):
            parts = numbers.view(made[0].shape[1], -1)  # of one channel each
            self._tie(parts[:, :1].expand_as(parts).flatten(), numbers)
            self._set(made[0], parts[:, 0])
            return True
        if any(each.dim() != 4 or each.shape[1] != len(numbers) for each in made):
            return False
        pads_zeros = func is F.pad and not (args[3:] or [kwargs.get("value")])[0]
        if (pads_zeros or func in _COMMUTE) and before[0][1] is not None:
            pass
        elif func in _ADD and len(before) == 2 and before[0][0].shape[1:2] == before[1][0].shape[1:2]:
            others = [torch.zeros_like(numbers) if each is None else each for _, each in before]
            self._tie(*others)
        elif func in _MULTIPLY:
            self.fix(*(each for each, _ in known[1:]))
            if func in (torch.div, Tensor.div, Tensor.div_, Tensor.__truediv__, Tensor.__itruediv__):
                self.fix(*(each for each, _ in before[1:]))
                numbers = known[0][1] if before[0][1] is not None else torch.zeros_like(numbers)
        else:
            return False
        for each in made:
            self._set(each, numbers)
        return True

    def _convolve(self, args: Any, kwargs: Any, made: Tensor) -> bool:
        x, weight = (*args, *kwargs.values())[:2]
        name = self._names.get(id(weight))
        if name is None or made.dim() != 4:
            return False
        numbers = self._of(x)
        inputs = torch.zeros(x.shape[1], dtype=torch.int64) if numbers is None else numbers
        if name in self.found:  # called again
            self._tie(self.found[name].inputs, inputs)
        else:
            start = len(self._parents)
            self._parents += range(start, start + made.shape[1])
            self.found[name] = Channels(inputs, torch.arange(start, start + made.shape[1]))
        self._set(made, self.found[name].outputs)
        return True

    def _as_map(self, tensor: Tensor) -> Tensor:
        numbers = self._of(tensor)
        if numbers is None:
            return torch.zeros((), dtype=torch.int64).expand(tensor.shape)
        return numbers.view(1, -1, 1, 1).expand(tensor.shape)

    def _of(self, tensor: Tensor) -> Tensor | None:
        entry = self._numbers.get(id(tensor))
        return None if entry is None else entry[1]

    def _set(self, tensor: Tensor, numbers: Tensor | None) -> None:
        if numbers is not None:
            self._numbers[id(tensor)] = tensor, numbers

    def _tie(self, some: Tensor, others: Tensor) -> None:
        for one, other in zip(some.tolist(), others.tolist(), strict=True):
            low, high = sorted((self._root(one), self._root(other)))
            self._parents[high] = low

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            number = self._parents[number]
        return number


def _tensors(value: Any) -> Iterable[Tensor]:
    """All tensors in nested arguments, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)


def _mapped(value: Any, change: Any) -> Any:
    """``value`` with every tensor in it changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _mapped(each, change) for key, each in value.items()}
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return type(value)(_mapped(each, change) for each in value)
    return value
