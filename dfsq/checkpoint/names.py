"""Names in other people's files: what they say, and how they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntEnum

_NETWORK = re.compile(
    "ema|g|gen|generator|netg|net|network|model|module|state|dict|params?|weights|student|online|orig|mod"
)
"""Words of names that training code gives the network as a whole."""
_OTHERS = re.compile(
    "discriminators?|disc|netd|critic|optim|optimi[sz]ers?|schedulers?|scaler|loss|losses|criterion|vgg|perceptual|lpips"
    "|callbacks|loops|rng"
)
"""Words of names of what is trained beside the network, or trains it."""


class Role(IntEnum):
    """What a container or a prefix stands for, most wanted first."""

    EMA = 0
    NETWORK = 1
    UNKNOWN = 2
    OTHER = 3


def role_of(name: str) -> Role:
    """The role that the words of ``name`` tell.

    >>> [role_of(name).name for name in ("params-ema", "netG", "cinema", "net_d", "optimizer_states")]
    ['EMA', 'NETWORK', 'UNKNOWN', 'OTHER', 'OTHER']
    """
    words = _words(name)
    network = all(map(_NETWORK.fullmatch, words - {"d"}))
    if any(map(_OTHERS.fullmatch, words)) or ("d" in words and network):
        return Role.OTHER
    if "ema" in words:
        return Role.EMA
    return Role.NETWORK if words and network else Role.UNKNOWN


def _words(name: str) -> frozenset[str]:
    """Parts between punctuation and at changes of case, in lower case."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return frozenset(word.lower() for word in re.split(r"[\W_]+", apart) if word)


def printable(name: str, limit: int = 60) -> str:
    """``name`` for a message: cut, and without control characters."""
    shown = "".join(character if character.isprintable() else "?" for character in name[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[:limit]}…"


def listed(names: Iterable[str], limit: int = 8) -> str:
    """The first ``limit`` of ``names``, and whether there are more."""
    shown: list[str] = []
    for name in names:
        if len(shown) == limit:
            return ", ".join((*shown, "…"))
        shown.append(printable(name))
    return ", ".join(shown)
