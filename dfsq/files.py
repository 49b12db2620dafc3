"""Writing files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from dfsq import distributed
from dfsq.errors import DfsqError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write ``content`` beside ``path``, then rename: nobody sees half a file, and a failed run leaves an old file
    untouched. Of several processes on one run only the first writes, or who works on an item alone.

    Raises :class:`DfsqError` that names the path and the system's reason.
    """
    if not distributed.writes_files():
        return
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        check_writable(path)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise DfsqError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raise :class:`DfsqError` where ``path`` cannot be created or replaced: before work is spent on its content."""
    folder = path.parent
    if path.is_dir():
        raise DfsqError(f"cannot write {path}: it is a folder; name a file in it")
    if not folder.is_dir():
        raise DfsqError(f"cannot write {path}: the folder {folder} does not exist; create it first")
    if not os.access(folder, os.W_OK):
        raise DfsqError(f"cannot write {path}: no permission to write into {folder}; choose another place")


def make_folder(path: Path) -> None:
    """Create a folder and its parents where they are missing. Raises :class:`DfsqError` where that is impossible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DfsqError(f"cannot create the folder {path}: {error.strerror or error}; choose another place") from error
