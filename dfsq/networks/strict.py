"""Strict loading of a state into a module, with errors that name what does not fit."""

from __future__ import annotations

from torch import nn

from dfsq.errors import CheckpointError
from dfsq.networks.architecture import State


def load_strictly(net: nn.Module, state: State, title: str) -> None:
    """Copy ``state`` into ``net``.

    Raises :class:`CheckpointError` that lists missing, unexpected and misshapen parameters; ``title`` names
    the architecture in it.
    """
    if reason := misfit(net, state):
        raise CheckpointError(f"the checkpoint does not fit {title}: {reason}")
    net.load_state_dict(state)


def misfit(net: nn.Module, state: State) -> str:
    """Missing, unexpected and misshapen parameters of ``state``, or "" where it fits ``net``."""
    expected = net.state_dict()
    problems = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "misshapen": [
            f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
            for key in expected
            if key in state and state[key].shape != expected[key].shape
        ],
    }
    return "; ".join(f"{kind}: {listed(keys)}" for kind, keys in problems.items() if keys)


def listed(names: list[str], limit: int = 4) -> str:
    """The first ``limit`` names, and how many more there are."""
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
