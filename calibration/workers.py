"""Threads that work on images side by side, each with torch in one thread: small operations share out badly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """As many as torch has threads, on a CPU; elsewhere one."""

    def __init__(self, device: torch.device) -> None:
        self._alone = device.type != "cpu"
        self.count = 1 if self._alone else torch.get_num_threads()

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Results of ``work`` on all ``items``, in their order. Raises what it raises."""

        def alone(item: Item) -> Result:
            with torch.no_grad(), self.worker():
                return work(item)

        with ThreadPoolExecutor(self.count) as threads:
            return list(threads.map(alone, items))

    @contextmanager
    def worker(self) -> Iterator[None]:
        """What a thread is while it is one of them."""
        if self._alone:
            yield
            return
        # Asked first: a thread takes over the number of others when it first asks, even where it has set its own.
        torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(self.count)
