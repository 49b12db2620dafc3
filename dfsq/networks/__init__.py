"""The networks that dfsq knows: one file per architecture, networks of the user's own, and spandrel's."""

from __future__ import annotations

from collections.abc import Sequence

from dfsq.errors import CheckpointError, UsageError
from dfsq.model import NetworkInfo, SRModel
from dfsq.networks import own, registered, zoo
from dfsq.networks.architecture import State
from dfsq.networks.own import wrap
from dfsq.networks.recognition import OwnNetwork, Provider, Recognised, Wanted
from dfsq.networks.registry import architectures

__all__ = ["Recognised", "Wanted", "architectures", "build", "from_state", "recognise", "wrap"]

PROVIDERS: tuple[Provider, ...] = (own, registered, zoo)
"""Who recognises a checkpoint, in this order."""


def recognise(states: Sequence[State], wanted: Wanted) -> tuple[int, Recognised]:
    """Which of ``states``, the most preferred first, holds a network, and which one.

    Raises :class:`UsageError` for an unknown ``arch`` or a scale that contradicts the shapes, and
    :class:`CheckpointError` where no state fits a known network.
    """
    reasons: list[str] = []
    for provider in PROVIDERS:
        for index, state in enumerate(states):
            result = provider.recognise(state, wanted)
            if isinstance(result, Recognised):
                return index, result
            if index == 0 and result:
                reasons.append(result)
    raise CheckpointError("; ".join(reasons))


def build(info: NetworkInfo, state: State, arch: OwnNetwork | None = None) -> SRModel:
    """Build the network that ``info`` describes and load ``state``, named as in its own module.

    ``arch`` is what makes a network of the user's own. Raises :class:`CheckpointError` that lists missing, unexpected
    and misshapen parameters, and :class:`UsageError` for an unknown architecture.
    """
    for provider in PROVIDERS:
        if provider.owns(info):
            return provider.build(info, state, arch)
    raise UsageError(f"unknown architecture {info.architecture!r}; known: {', '.join(sorted(architectures()))}")


def from_state(
    state: State, *, arch: OwnNetwork | None = None, scale: int | None = None, rgb_range: float | None = None
) -> SRModel:
    """The most likely network of ``state``, unchecked. Parameters and errors as :func:`recognise`."""
    _, found = recognise([state], Wanted(arch=arch, scale=scale, rgb_range=rgb_range))
    return found.build(found.variants[0])
