"""Building a network no larger than its file: counts in a header, and numbers in parameters' names, may be made up.

A constructor is told how many blocks and channels to make, and makes them before anybody can compare them with the
tensors in the file. Here its tensors are counted while it makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_FACTORIES = (
    torch.empty,
    torch.zeros,
    torch.ones,
    torch.full,
    torch.rand,
    torch.randn,
    torch.arange,
    torch.linspace,
    torch.eye,
)
_MARGIN = 4
"""How many times the file's tensors and values a constructor may make: some networks drop parts of themselves."""
_TENSORS, _VALUES = 256, 2**26
"""What it may make whatever the file holds: masks and tables are computed, not stored."""


class Bounded(TorchFunctionMode):
    """Inside ``with Bounded(shapes):`` no more and no larger tensors are made than ``shapes`` of a file account for.

    Raises ValueError at the first tensor that goes beyond, before it is allocated, and at once for a name that numbers
    more parts than there can be. Other threads are not affected.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self._tensors = _TENSORS + _MARGIN * len(shapes)
        self._values = _VALUES + _MARGIN * sum(prod(shape) for shape in shapes.values())
        for part in {part for name in shapes for part in name.split(".")}:
            if part.isdecimal() and (len(part) > 9 or int(part) > self._tensors):
                raise ValueError(f"a name counts to {part[:12]}, but the file has {len(shapes)} tensors")
        self._held = f"{len(shapes)} tensors"

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count what ``func`` makes, then call it."""
        kwargs = kwargs or {}
        if func in _FACTORIES:
            own = {key: value for key, value in kwargs.items() if key not in ("generator", "pin_memory")}
            made: Tensor = func(*args, **{**own, "device": "meta"})
            self._tensors -= 1
            self._values -= made.numel()
            if self._tensors < 0 or self._values < 0:
                raise ValueError(f"it claims more parameters than the {self._held} of the file account for")
        return func(*args, **kwargs)
