"""Reading other people's checkpoints: files, containers and prefixes, and nothing that executes code."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dfsq.checkpoint.containers import described, spellings, states
from dfsq.checkpoint.names import listed
from dfsq.checkpoint.reading import exceeds, is_out_of_memory, read, room
from dfsq.checkpoint.sniffing import Kind, kind_of
from dfsq.checkpoint.tensors import as_weights, bytes_needed
from dfsq.errors import CheckpointError

__all__ = ["FoundState", "Kind", "kind_of", "read_state", "read_states", "sha256_of"]


@dataclass(frozen=True)
class FoundState:
    """One reading of a checkpoint: parameter names and tensors, floating point as float32."""

    state: dict[str, Tensor]
    where: str
    """Where in the file it lies, for people: ``"params_ema"``, ``"generator_ema. prefix"``, ``"the file itself"``."""


def read_states(path: Path) -> list[FoundState]:
    """Every state in a file of ``torch.save`` or safetensors, whatever it is called, with its common prefixes kept and
    removed. The caller takes the first one whose names it knows.

    Exponential moving averages come before what they average. Optimizers, discriminators and counters are left out,
    and weight normalization is folded. Raises :class:`CheckpointError` for a file that is missing, empty, truncated,
    damaged, of another format, claims more than it can hold, does not fit into memory, or would execute code, and
    where the preferred state holds tensors that are no weights.
    """
    try:
        return _readings(path)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise CheckpointError(f"{path} does not fit into memory, or claims so; download it again") from error


def _readings(path: Path) -> list[FoundState]:
    content = read(path)
    found = states(content)
    if not found:
        raise CheckpointError(f"{path} holds {described(content)}, not a state dict; save model.state_dict()")
    if bytes_needed(each.state for each in found) > room(path):
        raise CheckpointError(exceeds(path))
    readings: list[FoundState] = []
    for each in found:
        try:
            each = each._replace(state=as_weights(each.state))
        except CheckpointError as error:
            if not readings:  # what is less wanted may be anything
                raise CheckpointError(f"{path}: {error}") from error
            continue
        readings += [FoundState(one.state, _phrase(one.where)) for one in spellings(each)]
    return readings


def _phrase(where: tuple[str, ...]) -> str:
    parts = (f"{part} prefix" if part.endswith(".") else part for part in where)
    return listed(parts) or "the file itself"


def read_state(path: Path) -> dict[str, Tensor]:
    """The first of :func:`read_states`."""
    return read_states(path)[0].state


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
