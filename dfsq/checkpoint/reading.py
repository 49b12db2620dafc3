"""From a checkpoint's bytes to Python objects: nothing is executed, and nothing claims more than the file can hold."""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from dfsq.checkpoint.names import printable
from dfsq.checkpoint.outline import CraftedPickleError, check_pickle
from dfsq.checkpoint.sniffing import Kind, kind_of
from dfsq.checkpoint.stand_ins import STAND_INS
from dfsq.errors import CheckpointError

GROWTH = 16
"""How many times its size a file may grow in memory: float8 becomes float32, records may be compressed, and a tensor
may repeat its values. What claims more was made to exhaust memory."""
_CHUNK = 1 << 20


def read(path: Path) -> Any:
    """The content of a checkpoint: a mapping of tensors, or whatever training code put around it.

    Raises :class:`CheckpointError` for a file that is no checkpoint, truncated, damaged, claims more memory than it can
    fill, or would execute code when loaded.
    """
    kind = kind_of(path)
    try:
        if kind is Kind.SAFETENSORS:
            return load_file(path)
        if kind is Kind.TORCH_ZIP:
            _check_records(path)
        else:
            _check_sequence(path)
        return _load(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is truncated or no safetensors file ({error}); download it again") from error
    except CraftedPickleError as error:
        raise CheckpointError(f"{path} is refused: its pickle {error}, as no checkpoint does") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} {_refusal(str(error))}") from error
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle makes torch raise nearly anything
        if is_out_of_memory(error):
            raise
        raise CheckpointError(f"{path} is truncated or no PyTorch checkpoint; download it again") from error


def is_out_of_memory(error: Exception) -> bool:
    """Whether ``error`` tells that memory did not suffice; torch has no type for it on the CPU."""
    return isinstance(error, MemoryError) or "allocate memory" in str(error)


def exceeds(path: Path) -> str:
    """The message for a file that claims more than :func:`room`."""
    return f"{path} claims over {GROWTH} times its size, as no checkpoint does; download it again"


def room(path: Path) -> int:
    """Bytes that the content of ``path`` may take in memory."""
    return GROWTH * path.stat().st_size + _CHUNK


def _load(path: Path) -> Any:
    with (
        warnings.catch_warnings(),
        torch.serialization.safe_globals(STAND_INS),  # type: ignore[arg-type]
        path.open("rb") as file,
    ):
        warnings.simplefilter("ignore")  # about pickle protocols; what cannot be read raises
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_records(path: Path) -> None:
    """Compare what the records of a zip archive claim with its size, and their content with their checksums, neither
    of which torch does; then follow its pickle."""
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        if sum(record.file_size for record in records) > room(path):
            raise CheckpointError(exceeds(path))
        if not any(record.CRC for record in records):  # torch.save was told to compute none
            for record in records:
                del record.CRC
        elif (damaged := archive.testzip()) is not None:
            raise CheckpointError(
                f"{path} is damaged: {printable(damaged)} contradicts its checksum; download it again"
            )
        for record in records:
            if record.filename.endswith("data.pkl"):
                check_pickle(io.BytesIO(archive.read(record)))


def _check_sequence(path: Path) -> None:
    """Follow the pickles of the older format: magic number, version, writer, content, keys of storages."""
    with path.open("rb") as file:
        for _ in range(5):
            check_pickle(file)


def _refusal(reason: str) -> str:
    if "Unsupported operand" in reason:
        return (
            "is written in a pickle protocol that cannot be loaded safely; save it again by "
            "torch.save(model.state_dict(), ...) without pickle_protocol, or convert it to safetensors"
        )
    if not re.search(r"(?i)global|execute|reduce|create new object|can only build", reason):
        return "is truncated or no PyTorch checkpoint; download it again"
    found = re.search(r"GLOBAL ([\w.]+)", reason)
    what = f"more than tensors ({found[1]})" if found else "more than tensors"
    return (
        f"is refused: its pickle holds {what}, and loading it could execute code; save only the "
        "state dict (torch.save(model.state_dict(), ...)) or convert it to safetensors"
    )
