"""From a checkpoint's bytes to Python objects: nothing is executed, and nothing claims more than the file can hold."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from dfsq.checkpoint.names import printable
from dfsq.checkpoint.sniffing import Kind, kind_of
from dfsq.errors import CheckpointError

GROWTH = 16
"""How many times its size a file may grow in memory: float8 becomes float32, records may be compressed, and a tensor
may repeat its values. What claims more was made to exhaust memory."""
_CHUNK = 1 << 20


class _Ignored:
    """Stands for an object beside the tensors. It takes whatever the original took, and does nothing."""

    def __new__(cls, *_: Any) -> _Ignored:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


class _AsMapping:
    """Stands for another kind of dictionary, which may hold the weights."""

    def __new__(cls, *_: Any) -> Any:
        return OrderedDict()


_VALUES = {
    "argparse": "Namespace",
    "builtins": "bool bytes dict float frozenset int list object range slice str tuple type",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "numpy": "dtype ndarray bool_ float16 float32 float64 int32 int64",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy._core.multiarray": "_reconstruct scalar",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "pathlib._local": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "types": "SimpleNamespace",
    "uuid": "UUID",
}
_MAPPINGS = {
    "collections": "defaultdict",
    "addict.addict": "Dict",
    "easydict": "EasyDict",
    "lightning.fabric.utilities.data": "AttributeDict",
    "lightning_fabric.utilities.data": "AttributeDict",
    "pytorch_lightning.utilities.parsing": "AttributeDict",
    "munch": "Munch",
    "yacs.config": "CfgNode",
}
_STAND_INS = [
    (stand_in, f"{module}.{name}")
    for stand_in, modules in ((_Ignored, _VALUES), (_AsMapping, _MAPPINGS))
    for module, names in modules.items()
    for name in names.split()
]
"""Harmless types that training code saves beside the weights. torch's unpickler gets stand-ins of this module under
their names, so that not even these types' own code runs."""


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
        return _load(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is truncated or no safetensors file ({error}); download it again") from error
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


def room(path: Path) -> int:
    """Bytes that the content of ``path`` may take in memory."""
    return GROWTH * path.stat().st_size + _CHUNK


def _load(path: Path) -> Any:
    with (
        warnings.catch_warnings(),
        torch.serialization.safe_globals(_STAND_INS),  # type: ignore[arg-type]
        path.open("rb") as file,
    ):
        warnings.simplefilter("ignore")  # about pickle protocols; what cannot be read raises
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_records(path: Path) -> None:
    """Compare what the records of a zip archive claim with its size, and their content with their checksums, neither
    of which torch does."""
    with zipfile.ZipFile(path) as archive:
        if sum(record.file_size for record in archive.infolist()) > room(path):
            raise CheckpointError(
                f"{path} claims over {GROWTH} times its size, as no checkpoint does; download it again"
            )
        if not any(record.CRC for record in archive.infolist()):
            return  # torch.save can be told to compute none
        try:
            damaged = archive.testzip()
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, zlib.error) as error:
            raise CheckpointError(f"{path} is damaged ({error}); download it again") from error
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged: {printable(damaged)} contradicts its checksum; download it again")


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
