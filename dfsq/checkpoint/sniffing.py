"""What a file is, by its first bytes: two formats that are read, and many that have a remedy of their own."""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from dfsq.errors import CheckpointError

HEAD = 512
"""Bytes that are looked at."""
LONGEST_HEADER = 100_000_000
"""Bytes of the longest header that safetensors reads; its length comes first in the file."""


class Kind(Enum):
    """The formats that are read."""

    SAFETENSORS = "safetensors"
    TORCH_ZIP = "torch.save, a zip archive"
    TORCH_LEGACY = "torch.save before 1.6, a sequence of pickles"


_LEGACY = bytes.fromhex("6cfc9c46f9206aa85019")
"""torch's magic number as a pickled integer; a few bytes of pickle protocol come before it."""

_AGAIN = "download it again"
_EXPORTED = "name the PyTorch checkpoint (.pth or .safetensors) that it was exported from"
_NO_CHECKPOINT = "name the network's checkpoint (.pth or .safetensors)"
_ARCHIVE = "unpack it and name the checkpoint in it"
_CONVERT = "convert its weights to a PyTorch state dict under the published parameter names"

_ONNX, _OPENVINO = "an ONNX network", "an OpenVINO network"
_GRAPHS = {_ONNX: ".onnx", _OPENVINO: ".xml"}
"""What engines run, by what it is called here."""

_SIGNATURES: tuple[tuple[str, str, str], ...] = (
    # how the file begins, as a regular expression; what it is; what to do
    (r"version https://git-lfs", "a git-LFS pointer, not the file itself", "run 'git lfs pull' or download the file"),
    (
        r"(?i)(\xef\xbb\xbf)?\s*(<!--.{,300}-->\s*)?<(!doctype html|html|head|body)",
        "a web page, not the file itself",
        "download the file by its direct link, signed in where that is needed",
    ),
    (r"(\xef\xbb\xbf)?\s*<\?xml.*<net\b", _OPENVINO, _EXPORTED),
    (r"(\xef\xbb\xbf)?\s*<(\?xml|Error)", "an XML document, often a server's error message", _AGAIN),
    (r"\s*[{\[]\s*[\"{}\]]", "a JSON document, not the weights", _NO_CHECKPOINT),
    (r"7767517\s", "an ncnn network (.param)", _EXPORTED),
    (r"\xdd\x85\x76\x00", "an ncnn network (.param.bin)", _EXPORTED),
    (r"(\x47\x6b\x30\x01|\x38\x4b\x0d\x00)", "ncnn weights (.bin)", _EXPORTED),
    (r"\x08\x01\x12", "a TensorFlow SavedModel", _EXPORTED),
    (r"\x08[\x02-\x20][\x12\x1a\x22\x28\x32\x3a\x42]", _ONNX, _EXPORTED),
    (r".{4}ORTM", "an ONNX Runtime network", _EXPORTED),
    (r".{4}TFL[23]", "a TensorFlow Lite network", _EXPORTED),
    (r".{4}ET\d\d", "an ExecuTorch network", _EXPORTED),
    (r"(ftrt|ptrt)", "a TensorRT engine", _EXPORTED),
    (r"GGUF", "a GGUF file", _EXPORTED),
    (r"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras or MATLAB)", _CONVERT),
    (r"MATLAB 5\.0 MAT-file", "a MATLAB file", _CONVERT),
    (r"\x93NUMPY", "a NumPy array", _CONVERT),
    (r"\x89PNG", "a PNG image", _NO_CHECKPOINT),
    (r"\xff\xd8\xff", "a JPEG image", _NO_CHECKPOINT),
    (
        r"(GIF8|BM.{4}\x00{4}|II\*\x00|MM\x00\*|RIFF.{4}WEBP|\x00\x00\x00\x0cjP|.{4}ftyp(avif|hei|mif))",
        "an image",
        _NO_CHECKPOINT,
    ),
    (r"P[1-7]\s", "an image", _NO_CHECKPOINT),
    (r"(.{4}(ftyp|moov|mdat)|RIFF.{4}AVI|\x1a\x45\xdf\xa3|FLV\x01|\x00\x00\x01[\xb3\xba])", "a video", _NO_CHECKPOINT),
    (r"%PDF", "a PDF document", _NO_CHECKPOINT),
    (r"(\x7fELF|MZ.{58,}PE\x00\x00|\xcf\xfa\xed\xfe)", "a program", _NO_CHECKPOINT),
    (
        r"(\x1f\x8b|BZh\d|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf\x27\x1c|Rar!|\x04\x22\x4d\x18|\x1f\x9d)",
        "a compressed archive",
        _ARCHIVE,
    ),
    (r".{257}ustar", "a tar archive", _ARCHIVE),
    (
        r"\x80[\x02-\x05]",
        "a pickle that torch.save did not write; loading it could execute code",
        "save the weights with torch.save(model.state_dict(), ...)",
    ),
)
"""What is refused by its first bytes; the first that fits counts."""

_MEMBERS: tuple[tuple[str, str, str], ...] = (
    # a member of a zip archive, as a regular expression; what such an archive is; what to do
    (
        r"(.*/)?constants\.pkl",
        "a TorchScript program, whose code would be executed",
        "save the state dict of the network that was traced or scripted (torch.save(model.state_dict(), ...))",
    ),
    (r"(.*/)?(archive_format|serialized_exported_program\.json)", "a program of torch.export", _EXPORTED),
    (r"(.*/)?\.data/extern_modules", "a torch.package archive, whose code would be executed", _EXPORTED),
    (r"(.*/)?(model\.weights\.h5|saved_model\.pb)", "a Keras or TensorFlow network", _EXPORTED),
    (r"[^/]*\.npy", "an archive of NumPy arrays (.npz)", _CONVERT),
)


def graph_format(path: Path) -> str | None:
    """The format of a graph that engines run, as its usual suffix: ``.onnx``, or ``.xml`` of OpenVINO; None for any
    other file, and where there is none.

    The suffix decides only where the content is nothing known: then what reads graphs tells what is wrong. Raises
    :class:`CheckpointError` for a text with such a suffix.
    """
    try:
        head = _head(path)
    except CheckpointError:
        return None
    if _readable_head(head):
        return None
    found = _signature(head)
    if found is not None:
        return _GRAPHS.get(found[0])
    suffix = path.suffix.lower()
    if suffix not in _GRAPHS.values():
        return None
    if _is_text(head):
        raise CheckpointError(f"{path} is text, no graph; export it again")
    return suffix


def kind_of(path: Path) -> Kind:
    """The format of the checkpoint ``path``, by its content: a suffix decides nothing.

    Raises :class:`CheckpointError`, which says what the file is and what to do, for what is missing, no regular file
    (nothing is opened that could block), unreadable, empty, or no checkpoint.
    """
    head = _head(path)
    if (kind := _readable(head, path)) is not None:
        return kind
    what, remedy = _described(head, path.suffix.lower())
    raise CheckpointError(f"{path} is {what}; {remedy}")


def _head(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise CheckpointError(f"{path} is a folder; name the checkpoint file in it")
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(f"{path} is a pipe, socket or device; copy its content into a file and name that")
        with path.open("rb") as file:
            head = file.read(HEAD)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise CheckpointError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if not head:
        raise CheckpointError(f"{path} is empty; download or copy it again")
    return head


def _readable(head: bytes, path: Path) -> Kind | None:
    kind = _readable_head(head)
    if kind is Kind.TORCH_ZIP:
        _check_members(path)
    return kind


def _readable_head(head: bytes) -> Kind | None:
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= LONGEST_HEADER:
        return Kind.SAFETENSORS
    if _LEGACY in head[:32]:
        return Kind.TORCH_LEGACY
    return Kind.TORCH_ZIP if head.startswith((b"PK\x03\x04", b"PK\x05\x06")) else None


def _check_members(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{path} is truncated or damaged; {_AGAIN}") from error
    for pattern, what, remedy in _MEMBERS:
        if _any_matches(pattern, names):
            raise CheckpointError(f"{path} is {what}; {remedy}")
    if not _any_matches(r"(.*/)?data\.pkl", names):
        raise CheckpointError(f"{path} is a zip archive, no PyTorch checkpoint; {_ARCHIVE}")


def _any_matches(pattern: str, names: Iterable[str]) -> bool:
    compiled = re.compile(pattern)
    return any(compiled.fullmatch(name) for name in names)


def _described(head: bytes, suffix: str) -> tuple[str, str]:
    if (found := _signature(head)) is not None:
        return found
    if suffix == ".bin" and head.startswith(bytes(4)):
        return "ncnn or OpenVINO weights (.bin)", _EXPORTED
    if _is_text(head):
        return "text, no PyTorch checkpoint and no safetensors file", _AGAIN
    return "truncated, or no PyTorch checkpoint and no safetensors file", _AGAIN


def _signature(head: bytes) -> tuple[str, str] | None:
    """What begins like ``head``, and what to do; None for nothing known."""
    for pattern, what, remedy in _SIGNATURES:
        if re.match(pattern.encode("latin-1"), head, re.DOTALL):
            return what, remedy
    return None


def _is_text(head: bytes) -> bool:
    return not any(byte < 9 for byte in head)
