"""The networks that dfsq knows: one file per architecture, found by listing this folder."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from dfsq.errors import CheckpointError, UsageError
from dfsq.model import NetworkInfo, SRModel
from dfsq.networks.architecture import Architecture, Hyperparameters, State
from dfsq.networks.scope import body_scope
from dfsq.networks.strict import listed, load_strictly

__all__ = ["architectures", "build", "from_state"]


@cache
def architectures() -> dict[str, Architecture]:
    """All architectures by name, in alphabetical order."""
    modules = (importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__))
    found = [module.ARCHITECTURE for module in modules if hasattr(module, "ARCHITECTURE")]
    return {architecture.name: architecture for architecture in sorted(found, key=lambda each: each.name)}


def build(info: NetworkInfo, state: State) -> SRModel:
    """Build the network that ``info`` describes and load ``state``, named as in the architecture's module.

    Raises :class:`CheckpointError` that lists missing, unexpected and misshapen parameters.
    """
    if info.architecture.startswith("spandrel:"):
        from dfsq.networks import zoo

        return zoo.build(info, state)
    architecture = _named(info.architecture)
    try:
        net = architecture.build(**info.hyperparameters)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"cannot build {architecture.title}: {error}") from error
    load_strictly(net, state, architecture.title)
    return SRModel(net, info, body_scope(net, architecture.body))


def from_state(
    state: State, *, arch: str | None = None, scale: int | None = None, rgb_range: float | None = None
) -> SRModel:
    """Recognise the network of ``state`` and build it.

    ``arch``, ``scale`` and ``rgb_range`` override what the names and shapes say. Raises :class:`UsageError`
    for an unknown ``arch`` or a scale that contradicts the shapes, and :class:`CheckpointError` where ``state``
    fits no known network.
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
        raise CheckpointError(_refusal(architecture, state))
    state = dialect.rename(state)
    hyperparameters = _hyperparameters(architecture, state, scale)
    if scale is not None and hyperparameters["scale"] != scale:
        own = hyperparameters["scale"]
        raise UsageError(f"--scale {scale}, but this {architecture.title} checkpoint upscales by {own}")
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


def _hyperparameters(architecture: Architecture, state: State, scale: int | None) -> Hyperparameters:
    try:
        return architecture.hyperparameters(state, scale)
    except (KeyError, IndexError) as error:
        raise CheckpointError(f"incomplete {architecture.title} checkpoint: cannot find {error}") from error
    except ArithmeticError as error:
        raise CheckpointError(f"the shapes of this {architecture.title} checkpoint contradict each other") from error


def _refusal(architecture: Architecture, state: State) -> str:
    closest = max(architecture.dialects, key=lambda dialect: dialect.similarity(state))
    missing = [key for key in closest.keys if key not in state]
    present = [key for key in closest.absent if key in state]
    reason = f"it lacks {listed(missing)}" if missing else f"it has {listed(present)}"
    return f"this is no {architecture.title} checkpoint: {reason}; leave --arch out to detect it"


def _from_zoo(state: State, scale: int | None, rgb_range: float | None) -> SRModel:
    from dfsq.networks import zoo

    tried = architectures().values()
    closest = max(tried, key=lambda each: each.similarity(state))
    share = closest.similarity(state)
    hint = f"closest: {closest.name}, {share:.0%} of its key names" if share else "no key name in common"
    own = f"unknown architecture; tried {', '.join(each.name for each in tried)} ({hint})"
    return zoo.from_state(state, scale=scale, rgb_range=rgb_range, own_verdict=own)
