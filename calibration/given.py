"""What one layer is given while two networks run side by side, batch by batch, in one process or several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calibration.layers import Layer
from calibration.observer import lowest_and_reach
from calibration.workers import Workers
from dfsq import distributed

Result = TypeVar("Result")
Pairs = Iterator[tuple[Tensor, Tensor]]
"""Inputs in full precision, and in the quantized network."""

_EVERY = 3
"""Every how many rows and columns of a map count for the moments: neighbours tell little new."""
SHARE = _EVERY**2
"""Positions of a map of which one counts."""


class Given:
    """The inputs of all calls of one layer, for all batches. Can be gone through again and again."""

    def __init__(self, own: Sequence[Sequence[Tensor]], batches: int, workers: Workers) -> None:
        """``own``: for every batch of this process the inputs by call, halves of which are the two networks'.

        ``batches``: number of those of all processes.
        """
        self._workers = workers
        numbers = [index for index in range(batches) if distributed.is_mine(index)]
        self._places = {index: place for place, index in enumerate(numbers)}
        self._own = own  # looked into one by one: not all need be in memory
        self._batches = batches

    def quantized(self) -> Iterator[Tensor]:
        """Inputs in the quantized network, of this process."""
        for index in self._places:
            for _, y in self._pairs(index):
                yield y

    def reach(self, axis: int) -> Tensor:
        """Largest magnitudes in full precision, per channel, which ``axis`` counts, of all processes: ``(C,)``."""
        own = [lowest_and_reach(x, axis)[1] for index in self._places for x, _ in self._pairs(index)]
        found = distributed.gather(torch.stack(own).amax(0).cpu() if own else None)
        return torch.stack([each for each in found if each is not None]).amax(0)

    def each(self, work: Callable[[Pairs], Result]) -> Iterator[Result]:
        """Results of ``work`` on one batch after the other, of all processes; it may be called in several threads."""
        for some in distributed.rounds(range(self._batches), self._workers.count):
            yield from distributed.share(some, lambda index: work(self._pairs(index)), self._workers.map)

    def _pairs(self, index: int) -> Pairs:
        for both in self._own[self._places[index]]:
            x, y = both.chunk(2)
            yield x, y


def rows_of(layer: Layer, x: Tensor) -> list[Tensor]:
    """What every weight of ``layer`` is multiplied with, at one position in nine: ``(positions, K)`` per group."""
    if isinstance(layer, nn.Linear):
        return [_some(x)]
    # (1, C·kh·kw, positions)
    columns = F.unfold(_padded(layer, x), layer.kernel_size, layer.dilation, 0, _stride(layer))
    return [each[0].T for each in columns.chunk(layer.groups, dim=1)]


def outputs_of(layer: Layer, x: Tensor) -> list[Tensor]:
    """What ``layer`` makes of ``x``, without its bias, at the same positions: ``(positions, O)`` per group."""
    if isinstance(layer, nn.Linear):
        return [F.linear(_some(x), layer.weight)]
    made = F.conv2d(_padded(layer, x), layer.weight, None, _stride(layer), 0, layer.dilation, layer.groups)
    return [each[0].flatten(1).T for each in made.chunk(layer.groups, dim=1)]


def _some(x: Tensor) -> Tensor:
    """One in nine of the positions that a linear layer is given, ``(positions, C)``."""
    return x.reshape(-1, x.shape[-1])[::SHARE]


def _padded(layer: nn.Conv2d, x: Tensor) -> Tensor:
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(x, layer._reversed_padding_repeated_twice, mode)  # "same" is other numbers on opposite sides


def _stride(layer: nn.Conv2d) -> tuple[int, int]:
    return _EVERY * layer.stride[0], _EVERY * layer.stride[1]
