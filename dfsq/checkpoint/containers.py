"""The states in whatever training code puts around them: containers, several networks in one state, common prefixes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from dfsq.checkpoint.names import Role, listed, role_of

MAX_CONTAINERS, MAX_DEPTH, MAX_STATES = 10_000, 32, 64
"""Bounds of the search; training code stays far below."""
_COUNTERS = frozenset(("total_ops", "total_params", "n_averaged", "step_counter", "num_updates"))
"""Last parts of the names of tensors that profilers and averaging code add to a state."""


class Found(NamedTuple):
    """A state as it lies in the file."""

    state: dict[str, Tensor]
    where: tuple[str, ...]
    """Keys and prefixes (with their dot) that lead there; () for the file itself."""


def states(content: Any) -> list[Found]:
    """Every state of a network in ``content``, exponential moving averages first, then by how much the names of their
    containers promise. Optimizers, discriminators and losses are left out."""
    found = [part for state in _contained(content) for part in _split(state)]
    matrices = [part for part in found if any(tensor.ndim > 1 for tensor in part.state.values())]
    return sorted(matrices or found, key=lambda part: min(map(role_of, part.where), default=Role.NETWORK))[:MAX_STATES]


def spellings(found: Found) -> Iterator[Found]:
    """``found`` with its common prefixes kept and removed: a wrapper's is removed first, any other one kept first, for
    it may be part of the network's own names; so is whatever stands before a bare index, an ``nn.Sequential``."""
    state, where = found
    prefix = _common_prefix(state)
    if prefix is None or len(where) > MAX_DEPTH:
        yield found
        return
    shorter = Found(_below(prefix, state), (*where, prefix))
    indexed = all(name[:1].isdigit() for name in shorter.state)
    if role_of(prefix) < Role.UNKNOWN and not indexed:
        yield from spellings(shorter)
        yield found
    else:
        yield found
        yield from spellings(shorter)


def described(content: Any) -> str:
    """What a file without a state holds, for a message."""
    if isinstance(content, Mapping):
        return f"a mapping of {listed(map(str, content)) or 'nothing'}"
    return f"a {type(content).__name__}"


def _contained(content: Any) -> Iterator[Found]:
    """Every mapping of names to tensors, the outer ones first. Each object is looked at once, so cycles end."""
    queue: deque[tuple[Any, tuple[str, ...]]] = deque([(content, ())])
    seen = {id(content)}
    while queue:
        container, where = queue.popleft()
        items = list(_items(container))
        if state := {key: value for key, value in items if isinstance(value, Tensor) and not _counts(key)}:
            yield Found(state, where)
        for key, value in items:
            inside = isinstance(value, Mapping | list | tuple) and id(value) not in seen and role_of(key) < Role.OTHER
            if inside and len(seen) < MAX_CONTAINERS and len(where) < MAX_DEPTH:
                seen.add(id(value))
                queue.append((value, (*where, key)))


def _items(container: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(container, Mapping):
        return ((key, value) for key, value in container.items() if isinstance(key, str))
    if isinstance(container, list | tuple):
        return ((f"item {index}", value) for index, value in enumerate(container) if not isinstance(value, Tensor))
    return ()


def _counts(name: str) -> bool:
    return name.rpartition(".")[2] in _COUNTERS


def _split(found: Found) -> Iterator[Found]:
    """Several networks in one state, as ``generator.``, ``generator_ema.`` and ``discriminator.``, each by itself.

    The first parts of the names tell. Where they are those of one network's layers, the state stays whole.
    """
    state, where = found
    parts = dict.fromkeys(name.partition(".")[0] for name, tensor in state.items() if not _is_loose(name, tensor))
    roles = {part: role_of(part) for part in parts}
    unknown = list(roles.values()).count(Role.UNKNOWN)
    several = len(parts) > 1 and unknown <= 1 and not (unknown and Role.NETWORK in roles.values())
    if several:
        for part, role in roles.items():
            if role < Role.OTHER and any(name.startswith(f"{part}.") for name in state):
                yield Found(_below(f"{part}.", state), (*where, f"{part}."))
    elif len(parts) > 1 and Role.OTHER in roles.values():
        wanted = {name: tensor for name, tensor in state.items() if roles.get(name.partition(".")[0]) != Role.OTHER}
        yield Found(wanted, where)
    yield found  # whatever its names sound like, it may be one network of the user's own


def _common_prefix(state: Mapping[str, Tensor]) -> str | None:
    parts = {name.partition(".")[0] for name, tensor in state.items() if not _is_loose(name, tensor)}
    prefix = f"{parts.pop()}." if len(parts) == 1 else None
    return prefix if prefix and any(name.startswith(prefix) for name in state) else None


def _is_loose(name: str, tensor: Tensor) -> bool:
    """Whether this is a single value outside any module, such as a count of steps: no part of a prefixed network."""
    return "." not in name and tensor.ndim < 2 and tensor.numel() < 2


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
