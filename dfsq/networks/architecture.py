"""What one architecture tells about itself: how to recognise it, read its hyper-parameters and build it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from dfsq.errors import CheckpointError, UsageError

State = dict[str, Tensor]
"""Parameter names and tensors, containers and wrapper prefixes already removed."""
Hyperparameters = Mapping[str, Any]
"""Keyword arguments of a network's constructor; JSON types only, ``scale`` always among them."""


def _unchanged(state: State) -> State:
    return state


@dataclass(frozen=True)
class Dialect:
    """One spelling of an architecture's parameter names."""

    keys: tuple[str, ...]
    """Names that are all present in a checkpoint of this dialect."""
    absent: tuple[str, ...] = ()
    """Names that are in no checkpoint of this dialect."""
    rename: Callable[[State], State] = _unchanged
    """Maps the names to those of the architecture's own module. Raises what reading hyper-parameters does."""
    fits: Callable[[State], bool] = lambda _: True
    """Whether the shapes are this dialect's too, for names that several networks use; asked where all ``keys`` are."""

    def matches(self, state: State) -> bool:
        """Whether ``state`` is written in this dialect."""
        named = all(key in state for key in self.keys) and not any(key in state for key in self.absent)
        return named and self.fits(state)

    def similarity(self, state: State) -> float:
        """Share of ``keys`` that ``state`` has, in 0–1."""
        return sum(key in state for key in self.keys) / len(self.keys)


@dataclass(frozen=True)
class Architecture:
    """One network family. A file of :mod:`dfsq.networks` defines one as its ``ARCHITECTURE``."""

    name: str
    """Registry name, lower case: what ``--arch`` takes."""
    title: str
    """Name and source as people cite them, for example ``"EDSR (Lim et al. 2017)"``."""
    dialects: tuple[Dialect, ...]
    hyperparameters: Callable[[State, int | None], Hyperparameters]
    """Reads the constructor's arguments from shapes. The second argument is the scale asked for, if any; it
    matters where a checkpoint does not determine its scale. Raises :class:`~dfsq.errors.UsageError` for a
    scale that the checkpoint cannot have; the lookups' own errors mean that it is incomplete."""
    build: Callable[..., nn.Module]
    """The module, called with the hyper-parameters."""
    order: int = 0
    """Architectures of a lower order are tried first; those whose names others have as well come late."""
    rgb_range: float = 1.0
    """Input and output range of the published checkpoints: 1 or 255."""
    body: tuple[str, ...] | None = None
    """Shell-style patterns of the layers that the DFSQ paper quantizes (§4.1); None: derived by
    :mod:`dfsq.networks.scope`."""
    hidden: Callable[[State], Mapping[str, tuple[Any, ...]]] = lambda _: {}
    """Hyper-parameters that no shape shows, with the values that published checkpoints have, the usual one first."""
    heads: Callable[[State], tuple[int, ...]] = lambda _: ()
    """Scales of a multi-scale checkpoint, ascending; () where it has one."""
    stated_range: Callable[[State], float | None] = lambda _: None
    """The range that the checkpoint's own values tell, for example by a mean colour; None where nothing does."""
    drop: Callable[[Hyperparameters], tuple[str, ...]] = lambda _: ()
    """Name prefixes in the checkpoint that this choice of hyper-parameters does not use."""

    def dialect(self, state: State) -> Dialect | None:
        """Return the dialect ``state`` is written in, or None."""
        return next((dialect for dialect in self.dialects if dialect.matches(state)), None)

    def similarity(self, state: State) -> float:
        """Similarity of the dialect that comes closest, in 0–1."""
        return max(dialect.similarity(state) for dialect in self.dialects)


def count(state: State, pattern: str) -> int:
    """Number of blocks by the largest index with which ``pattern`` begins a key; indices begin at 0 or 1.

    A gap counts: strict loading then names the parameter that is missing. Raises :class:`CheckpointError` for an index
    beyond the number of parameters.

    >>> count({"body.0.weight": ..., "body.1.weight": ...}, "body.{}.")
    2
    """
    index_of = re.compile(re.escape(pattern).replace(r"\{\}", r"(\d{1,9})"))
    indices = [int(match[1]) for key in state if (match := index_of.match(key))]
    if max(indices, default=0) > len(state):
        raise CheckpointError(
            f"the checkpoint names {pattern.replace('{}', str(max(indices)))} among {len(state)} parameters; "
            "it is incomplete or damaged"
        )
    return max(indices, default=-1) + (1 if 0 in indices or not indices else 0)


def image_channels(channels: int) -> int:
    """Return ``channels``, those of the image that a network takes, where they are 3 (RGB) or 1 (luminance).

    Raises :class:`CheckpointError` for any other number.
    """
    if channels not in (1, 3):
        raise CheckpointError(f"the network takes {channels} channels; only 3 (RGB) and 1 (luminance) are supported")
    return channels


def chosen_scale(scale: int | None, candidates: tuple[int, ...]) -> int:
    """The ``scale`` asked for, or the first candidate. Raises :class:`UsageError` for one that is no candidate."""
    if scale is not None and scale not in candidates:
        raise UsageError(f"`scale` {scale}, but this checkpoint upscales by {', '.join(map(str, candidates))}")
    return scale or candidates[0]


Rule = tuple[str, str | Callable[[re.Match[str]], str]]
"""A regular expression and its replacement, as :func:`re.sub` takes them."""


def rename_keys(state: State, *rules: Rule) -> State:
    """Rewrite every key by the first rule that matches it.

    >>> rename_keys({"trunk.0.weight": ...}, (r"^trunk\\.(\\d)", r"body.\\1"))
    {'body.0.weight': Ellipsis}
    """
    return {_renamed(key, rules): value for key, value in state.items()}


def _renamed(key: str, rules: tuple[Rule, ...]) -> str:
    for pattern, replacement in rules:
        renamed, matches = re.subn(pattern, replacement, key)
        if matches:
            return renamed
    return key
