"""A graph that an engine has loaded: what each of them tells of it, and how it is called."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfsq.engines.description import Description

PREFIX = "dfsq."
"""Of the names of what dfsq has written into a graph, each value as JSON."""


@dataclass(frozen=True)
class Port:
    """An input or output of a graph."""

    shape: tuple[int | None, ...]
    """None where any number goes."""
    dtype: np.dtype[Any]


class Session(ABC):
    """A graph ready to run. An engine's module makes one: ``open_session(graph, precision, threads)``.

    ``graph`` is a path or the content of an ONNX file, ``precision`` one of the registry's. It raises whatever the
    library raises for a graph that is damaged or holds what the engine does not know.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: Mapping[str, str]
    """What is written into the graph."""
    description: Description
    notes: tuple[str, ...] = ()
    """What whoever runs it here should know, a line each."""

    @abstractmethod
    def run(self, images: NDArray[Any]) -> NDArray[Any]:
        """The first output for the only input."""

    def bytes_per_pixel(self) -> float | None:
        """Memory that activations take at the worst moment per pixel of the input; None where that cannot be told."""
        return None


def written(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What dfsq has written into a graph, without the prefix; nothing for a graph of another tool."""
    found: dict[str, Any] = {}
    for key, text in metadata.items():
        if key.startswith(PREFIX):
            try:
                found[key.removeprefix(PREFIX)] = json.loads(text)
            except ValueError:
                found[key.removeprefix(PREFIX)] = text
    return found


@dataclass(frozen=True)
class Step:
    """An operation of a graph: what it reads and makes, by name, the latter with bytes."""

    reads: tuple[str, ...]
    makes: Mapping[str, int]


def peak(steps: Iterable[Step], kept: Iterable[str]) -> int:
    """Bytes that are alive at the worst moment when ``steps`` run in order; what is ``kept`` stays to the end."""
    order = list(steps)
    last = {name: index for index, step in enumerate(order) for name in step.reads}
    for name in kept:
        last[name] = len(order)
    alive: dict[str, int] = {}
    most = 0
    for index, step in enumerate(order):
        alive.update(step.makes)
        most = max(most, sum(alive.values()))
        for name in [each for each in alive if last.get(each, index) <= index]:
            del alive[name]
    return most
