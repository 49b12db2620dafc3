"""Reading other people's checkpoints: files, containers and prefixes, and nothing that executes code."""

from __future__ import annotations

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dfsq.errors import CheckpointError
from dfsq.networks.architecture import State

CONTAINERS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "net")
"""Keys under which training code nests a state, most preferred first."""
PREFIXES = ("module.", "generator.", "netG.", "model.")
"""Prefixes that wrappers put before every parameter name."""


@dataclass(frozen=True)
class FoundState:
    """One state in a checkpoint file."""

    state: State
    where: str
    """Where it lies in the file, in words."""


def read_states(path: Path) -> list[FoundState]:
    """All states that a file holds, the most preferred first."""
    return [FoundState(read_state(path), "the file itself")]


def read_state(path: Path) -> State:
    """Read a ``.pth``, ``.pt``, ``.tar`` or ``.safetensors`` file into parameter names and tensors, floating point as
    float32.

    Containers and prefixes are removed. Raises :class:`CheckpointError` for a file that is missing, empty, truncated,
    no checkpoint, would execute code, or holds NaN or infinite values.
    """
    content = _read(path)
    state = {}
    for key, value in _unwrap(content, path).items():
        if not torch.isfinite(value).all():
            raise CheckpointError(f"{path}: {key} holds NaN or infinite values; the checkpoint is damaged or diverged")
        state[key] = value.float() if value.is_floating_point() else value
    return state


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise CheckpointError(f"{path} is empty; download or copy it again")
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; what cannot be read raises
            return torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is truncated or no safetensors file ({error}); download it again") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(_pickle_message(path, str(error))) from error
    except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is truncated or no PyTorch checkpoint; download it again") from error


def _pickle_message(path: Path, reason: str) -> str:
    if not any(sign in reason for sign in ("GLOBAL", "global", "Unsupported operand")):
        return f"{path} is truncated or no PyTorch checkpoint; download it again"
    return (
        f"{path} is refused: its pickle holds more than tensors, and loading it could execute code; "
        "save only the state_dict (torch.save(model.state_dict(), ...)) or convert it to safetensors"
    )


def _unwrap(content: Any, path: Path) -> State:
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a state dict; save model.state_dict()")
    while (
        inner := next((content[key] for key in CONTAINERS if isinstance(content.get(key), Mapping)), None)
    ) is not None:
        content = inner
    state = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not state:
        raise CheckpointError(f"{path} holds no tensors; containers looked into: {', '.join(CONTAINERS)}")
    while prefix := next((each for each in PREFIXES if _wraps(each, state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _wraps(prefix: str, state: State) -> bool:
    """Whether a wrapper put ``prefix`` before every name. Before a bare index it is the network's own nn.Sequential."""
    return all(key.startswith(prefix) and not key.removeprefix(prefix)[:1].isdigit() for key in state)
