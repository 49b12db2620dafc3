"""The bytes of an artifact: a safetensors file whose ``__metadata__`` holds a header and a checksum. Needs no torch.

From version 3 on, small tensors may lie packed in one (:mod:`dfsq.artifact.packed`).

``__metadata__["dfsq"]`` is the header, one JSON object (:mod:`dfsq.artifact.header`). Its field ``checksum`` is the
SHA-256 of its text, with zeros for the checksum, and of all tensors, the packed ones as one; in version 1
``tensors_sha256`` was that of the tensors alone. It stands inside, for safetensors writes several metadata in any
order, and the same model gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import stat
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from dfsq.artifact import packed
from dfsq.artifact.fields import Fields, label, parse, shown
from dfsq.artifact.header import VERSION, Header
from dfsq.errors import ArtifactError

METADATA_KEY = "dfsq"
_BLANK = "0" * 64
"""What stands in for the checksum while it is computed."""
_MAX_INDEX = 2**24
"""Bytes of JSON before the tensors. A network of a thousand layers takes a thirtieth of that."""
_DTYPES = {
    "BOOL": ("torch.bool", 1),
    "U8": ("torch.uint8", 1),
    "I8": ("torch.int8", 1),
    "I16": ("torch.int16", 2),
    "I32": ("torch.int32", 4),
    "I64": ("torch.int64", 8),
    "F16": ("torch.float16", 2),
    "BF16": ("torch.bfloat16", 2),
    "F32": ("torch.float32", 4),
    "F64": ("torch.float64", 8),
}
"""What a checkpoint may hold: torch's name, by which the checksum goes, and bytes."""

Shape = tuple[int, ...]


class Part(NamedTuple):
    """A tensor as the checksum sees it."""

    name: str
    dtype: str
    shape: Shape
    data: bytes | memoryview


@dataclass(frozen=True)
class Artifact:
    """An artifact whose index, header and checksum are in order; the tensors are still bytes."""

    header: Header
    shapes: Mapping[str, Shape]
    """Of the tensors by name, wherever they are: together they have exactly the bytes of the file."""
    sizes: Mapping[str, int]
    """Bytes of the same tensors."""
    contents: tuple[bytes, ...]
    """Safetensors files that hold them: that on disk, and what its packed tensor unpacks to."""


def is_artifact(path: Path) -> bool:
    """Whether ``path`` is a safetensors file with dfsq metadata; False for anything else, unreadable files included."""
    try:
        with _opened(path) as file:
            return METADATA_KEY in _metadata(_index(file)[0])
    except (OSError, ValueError):
        return False


def read(path: Path) -> Artifact:
    """Read an artifact and check it, all but the values of its tensors.

    Raises :class:`ArtifactError` for a damaged, truncated or contradictory file and for one of a newer version.
    """
    try:
        with _opened(path) as file:
            index, length = _index(file)
            metadata = _metadata(index)
            document = _document(path, metadata)
            spans = _spans(index, os.fstat(file.fileno()).st_size - 8 - length)
            file.seek(0)
            content = file.read()
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ArtifactError(f"{path} is truncated or damaged ({error}); quantize the checkpoint again") from error
    data = memoryview(content)[8 + length :]
    parts = [Part(name, dtype, shape, data[start:stop]) for start, stop, name, dtype, shape in spans]
    if not _is_right(metadata[METADATA_KEY], document, parts):
        raise ArtifactError(
            f"{path}: header and tensors do not match their checksum; copy it or quantize the checkpoint again"
        )
    try:
        shapes = {part.name: part.shape for part in parts if part.name != packed.NAME}
        sizes = {part.name: len(part.data) for part in parts if part.name != packed.NAME}
        small = [packed.unpack(part.data, _MAX_INDEX) for part in parts if part.name == packed.NAME]
        for each in small:
            inside = _tensors(each)
            shapes = _merged(shapes, {name: shape for name, (shape, _) in inside.items()})
            sizes |= {name: size for name, (_, size) in inside.items()}
        return Artifact(Header.from_json(document), shapes, sizes, (content, *small))
    except ValueError as error:
        raise ArtifactError(f"{path} has an impossible header ({error}); quantize the checkpoint again") from error


def metadata(header: Header, parts: Iterable[Part]) -> dict[str, str]:
    """The ``__metadata__`` of an artifact with this header and these tensors.

    Raises TypeError or ValueError for values that JSON does not have.
    """

    def text(checksum: str) -> str:
        document = {**header.to_json(), "checksum": checksum}
        return json.dumps(document, sort_keys=True, allow_nan=False, separators=(",", ":"))

    whole = text(_checksum(text(_BLANK), parts))
    Header.from_json(parse(whole))  # what is written can be read
    return {METADATA_KEY: whole}


def _is_right(text: str, document: Mapping[str, Any], parts: Iterable[Part]) -> bool:
    if document["version"] == 1:
        return document.get("tensors_sha256") == _checksum("", parts)
    claimed = document.get("checksum")
    blank = text.replace(claimed, _BLANK) if isinstance(claimed, str) and len(claimed) == len(_BLANK) else text
    return claimed == _checksum(blank, parts)


def _checksum(header: str, parts: Iterable[Part]) -> str:
    """SHA-256 in hexadecimal; the tensors' order does not matter."""
    digest = hashlib.sha256(header.encode())
    for part in sorted(parts, key=lambda each: each.name):
        digest.update(f"{part.name} {part.dtype} {list(part.shape)}\n".encode())
        digest.update(part.data)
    return digest.hexdigest()


def _tensors(content: bytes) -> dict[str, tuple[Shape, int]]:
    """Shapes and bytes of the tensors by name of a safetensors file, which is checked."""
    index, length = _index(io.BytesIO(content))
    spans = _spans(index, len(content) - 8 - length)
    return {name: (shape, stop - start) for start, stop, name, _, shape in spans}


def _merged(some: Mapping[str, Shape], others: Mapping[str, Shape]) -> dict[str, Shape]:
    if twice := sorted(some.keys() & others.keys()):
        raise ValueError(f"the tensor {label(twice[0])} is there twice")
    return {**some, **others}


def _opened(path: Path) -> BinaryIO:
    """Raises OSError also for what is no regular file: opening a pipe would wait for somebody who writes to it."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is no regular file")
    return path.open("rb")


def _index(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """What a safetensors file begins with, and its length. Raises ValueError where the file has no such thing."""
    start = file.read(8)
    if len(start) < 8:
        raise ValueError("it has less than 8 bytes")
    (length,) = struct.unpack("<Q", start)
    if length > _MAX_INDEX:
        raise ValueError(f"its index claims {length} bytes; at most {_MAX_INDEX} are read")
    text = file.read(length)
    if len(text) < length:
        raise ValueError(f"its index claims {length} bytes, the file has {len(text)}")
    return parse(text), length


def _metadata(index: Mapping[str, Any]) -> dict[str, str]:
    return Fields(index, "").text_mapping("__metadata__")


def _document(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The header as JSON, of a version that can be read."""
    document = parse(Fields(metadata, "__metadata__").text(METADATA_KEY))
    version = document.get("version")
    if type(version) is int and version > VERSION:
        versions = document.get("versions")
        by = versions.get("dfsq") if isinstance(versions, dict) else None
        raise ArtifactError(
            f"{path} has format version {shown(version)}, this dfsq reads up to {VERSION}; "
            f"it was written by {f'dfsq {by}' if isinstance(by, str) else 'a newer release'}: upgrade"
        )
    Fields(document, "").integer("version", 1, VERSION)
    return document


def _spans(index: Mapping[str, Any], length: int) -> list[tuple[int, int, str, str, Shape]]:
    """Where the tensors begin and end, their names, dtypes and shapes; nothing is allocated for what is only claimed.

    Raises ValueError unless they lie end to end in ``length`` bytes and fill them, each as long as its shape takes.
    """
    spans = []
    for name in index.keys() - {"__metadata__"}:
        if not name.isprintable():
            raise ValueError(f"the name {label(name)} is not printable")
        fields = Fields(index[name], label(name))
        dtype, size = _DTYPES[fields.one_of("dtype", tuple(_DTYPES))]
        shape = fields.sizes("shape")
        start, stop = fields.span("data_offsets", length)
        if math.prod(shape) * size != stop - start:
            raise ValueError(f"{label(name)} claims the shape {list(shape)}, but has {stop - start} bytes")
        spans.append((start, stop, name, dtype, shape))
    end = 0
    for start, stop, name, *_ in sorted(spans):
        if start != end:
            raise ValueError(f"{label(name)} begins at byte {start} instead of {end}")
        end = stop
    if end != length:
        raise ValueError(f"its tensors have {end} bytes, the file {length}")
    return spans
