"""How rates change over the steps of a run: never with the clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Rate(Protocol):
    """The rate of a step, counted from 0."""

    def __call__(self, step: int) -> float:
        """Its value, 0 or more."""
        ...


@dataclass(frozen=True)
class Cosine:
    """Rises to ``peak`` over ``warm_up`` steps, and falls to 0 over all ``steps`` along half a cosine."""

    peak: float
    steps: int
    warm_up: int = 0

    def __call__(self, step: int) -> float:
        """The rate of ``step``."""
        rising = min(1.0, (step + 1) / (self.warm_up + 1))
        return self.peak * rising * (1 + math.cos(math.pi * step / self.steps)) / 2


@dataclass(frozen=True)
class Halved:
    """``start``, halved whenever another ``every`` steps have passed."""

    start: float
    every: int

    def __call__(self, step: int) -> float:
        """The rate of ``step``."""
        return self.start / 2.0 ** (step // self.every)


@dataclass(frozen=True)
class Group:
    """Parameters that are trained at one rate."""

    parameters: Sequence[Tensor]
    rate: Rate
