"""The networks that dfsq knows: one file per architecture, found by listing this folder."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import torch

from dfsq.errors import CheckpointError, UsageError
from dfsq.model import NetworkInfo, SRModel
from dfsq.networks.architecture import Architecture, Hyperparameters, State
from dfsq.networks.scope import body_scope

__all__ = ["architectures", "build", "from_state"]


@cache
def architectures() -> dict[str, Architecture]:
    """All architectures by name, in alphabetical order."""
    modules = (importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__))
    found = [module.ARCHITECTURE for module in modules if hasattr(module, "ARCHITECTURE")]
    return {architecture.name: architecture for architecture in sorted(found, key=lambda each: each.name)}


def build(info: NetworkInfo, state: State) -> SRModel:
    """Build the network that ``info`` describes and load ``state``, names as in the architecture's own module.

    Raises :class:`CheckpointError` that lists missing, unexpected and misshapen parameters.
    """
    if info.architecture.startswith("spandrel:"):
        from dfsq.networks import zoo

        return zoo.build(info, state)
    architecture = _named(info.architecture)
    try:
        net = architecture.build(**info.hyperparameters)
    except TypeError as error:
        raise CheckpointError(f"cannot build {architecture.title}: {error}") from error
    _load_strictly(net, state, architecture)
    return SRModel(net, info, body_scope(net, architecture.body))


def from_state(
    state: State, *, arch: str | None = None, scale: int | None = None, rgb_range: float | None = None
) -> SRModel:
    """Recognise the network of ``state`` and build it.

    ``arch``, ``scale`` and ``rgb_range`` override what the names and shapes say. Raises :class:`UsageError` for an
    unknown ``arch`` and :class:`CheckpointError` where ``state`` does not fit any known network.
    """
    if arch is not None:
        architecture = _named(arch)
    else:
        known = architectures().values()
        recognised = next((each for each in known if each.dialect(state) is not None), None)
        if recognised is None:
            return _from_zoo(state, scale, rgb_range)
        architecture = recognised
    dialect = architecture.dialect(state)
    if dialect is None:
        missing = [key for key in architecture.dialects[0].keys if key not in state]
        raise CheckpointError(
            f"this is no {architecture.title} checkpoint: it lacks {_listed(missing)}; leave --arch out to detect it"
        )
    state = dialect.rename(state)
    try:
        hyperparameters = architecture.hyperparameters(state, scale)
    except (KeyError, IndexError) as error:
        raise CheckpointError(f"incomplete {architecture.title} checkpoint: cannot find {error}") from error
    if scale is not None and hyperparameters["scale"] != scale:
        raise UsageError(
            f"--scale {scale}, but the shapes of this {architecture.title} checkpoint say {hyperparameters['scale']}"
        )
    unused = architecture.drop(hyperparameters)
    state = {key: value for key, value in state.items() if not key.startswith(unused)} if unused else state
    info = NetworkInfo(
        architecture=architecture.name,
        hyperparameters=dict(hyperparameters),
        scale=hyperparameters["scale"],
        rgb_range=architecture.rgb_range if rgb_range is None else rgb_range,
    )
    return build(info, state)


def _named(name: str) -> Architecture:
    try:
        return architectures()[name]
    except KeyError:
        raise UsageError(f"unknown architecture {name!r}; known: {', '.join(architectures())}") from None


def _from_zoo(state: State, scale: int | None, rgb_range: float | None) -> SRModel:
    from dfsq.networks import zoo

    tried = architectures().values()
    closest = max(tried, key=lambda each: each.similarity(state))
    share = closest.similarity(state)
    hint = f"closest: {closest.name}, {share:.0%} of its key names" if share else "no key name in common with any"
    own = f"unknown architecture; tried {', '.join(each.name for each in tried)} ({hint})"
    return zoo.from_state(state, scale=scale, rgb_range=rgb_range, own_verdict=own)


def _load_strictly(net: torch.nn.Module, state: State, architecture: Architecture) -> None:
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
    if any(problems.values()):
        details = "; ".join(f"{kind}: {_listed(keys)}" for kind, keys in problems.items() if keys)
        raise CheckpointError(f"the checkpoint does not fit {architecture.title}: {details}")
    net.load_state_dict(state)


def _listed(names: list[str], limit: int = 4) -> str:
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
