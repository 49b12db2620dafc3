"""Reading small files that may be anything, and writing files whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dfsq import distributed
from dfsq.errors import DfsqError, UsageError

if sys.platform != "win32":
    import fcntl

_UNFINISHED = ".dfsq-{}.partial"
"""Name of a file that is being written, beside the one that it will replace."""


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write ``content``, text as UTF-8, beside ``path``, then rename: nobody sees half a file, and a failed run leaves
    an old file untouched. Of several processes on one run only the first writes, or who works on an item alone.

    A file that is replaced keeps its mode, and a link still leads to it. What killed processes left unfinished in the
    folder is removed. Raises :class:`DfsqError` that names the path and the system's reason.
    """
    if not distributed.writes_files():
        return
    # Names that are no UTF-8 occur in texts.
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``path`` as :func:`write_atomically` does, once the body of the ``with`` has
    ended; for content that is not in memory as a whole. Where the body fails, nothing has happened.

    Raises :class:`DfsqError` as that does, also for an OSError of the body.
    """
    check_writable(path)
    try:
        target = _target(path)
        _remove_abandoned(target.parent)
        while True:
            temporary = target.with_name(_UNFINISHED.format(secrets.token_hex(8)))
            try:
                with open(temporary, "x+b", opener=_with_mode_of(target)) as file:
                    _lock(file)
                    if os.fstat(file.fileno()).st_nlink:  # else another process took it for one that was abandoned
                        yield file
                        _finish(file, temporary, target)
                        return
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DfsqError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


def check_writable(path: Path) -> None:
    """Raise :class:`DfsqError` where ``path`` cannot be created or replaced: before work is spent on its content.

    Only regular files are replaced, and only those that their owner has not protected.
    """
    try:
        target = _target(path)
        mode = _mode(target)
    except OSError as error:
        raise DfsqError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    folder = target.parent
    if mode is not None and stat.S_ISDIR(mode):
        raise DfsqError(f"cannot write {path}: it is a folder; name a file in it")
    if mode is not None and not stat.S_ISREG(mode):
        raise DfsqError(f"cannot write {path}: it is {_kind(mode)}; name a file")
    if not folder.is_dir():
        raise DfsqError(f"cannot write {path}: the folder {folder} does not exist; create it first")
    if mode is not None and not os.access(target, os.W_OK):
        raise DfsqError(f"cannot write {path}: it is write-protected; choose another place")
    if not os.access(folder, os.W_OK):
        raise DfsqError(f"cannot write {path}: no permission to write into {folder}; choose another place")


def make_folder(path: Path) -> None:
    """Create a folder and its parents where they are missing. Raises :class:`DfsqError` where that is impossible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DfsqError(f"cannot create the folder {path}: {error.strerror or error}; choose another place") from error


def read_small(path: Path, most: int, what: str) -> bytes:
    """Content of a regular file of at most ``most`` bytes; ``what`` it is, for messages.

    Raises :class:`UsageError` for a larger one, and for pipes and devices, which could keep a reader waiting forever.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise UsageError(f"cannot read the {what} {path}: it is {_kind(mode)}; name a file")
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise UsageError(f"cannot read the {what} {path}: {error.strerror or error}") from error
    if len(content) > most:
        raise UsageError(f"cannot read the {what} {path}: it is larger than {most / 1e6:g} MB; is it the right file?")
    return content


def _target(path: Path) -> Path:
    """The file that ``path`` names, which may be a link."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _mode(path: Path) -> int | None:
    """Kind and permissions, or None where there is nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _with_mode_of(target: Path) -> Callable[[str, int], int]:
    """An opener that gives a new file the permissions of the file that it replaces."""
    old = _mode(target)
    permissions = 0o666 if old is None else stat.S_IMODE(old)
    return lambda name, flags: os.open(name, flags, permissions)


def _lock(file: BinaryIO) -> None:
    if sys.platform != "win32":
        with suppress(OSError):  # not every file system has locks; where there are none, nothing is removed
            fcntl.flock(file, fcntl.LOCK_EX)


def _finish(file: BinaryIO, temporary: Path, target: Path) -> None:
    """Put the whole file in the place of ``target``."""
    file.flush()
    os.fsync(file.fileno())
    old = _mode(target)
    if old is not None:
        os.chmod(temporary, stat.S_IMODE(old))  # all of them, whatever the umask says of new files
    if sys.platform == "win32":
        file.close()  # only there an open file cannot be renamed; elsewhere it stays locked until it has been
    os.replace(temporary, target)


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed processes were writing: one that lives holds a lock on its file."""
    if sys.platform == "win32":
        return
    for path in folder.glob(_UNFINISHED.format("*")):
        with suppress(OSError), open(path, "r+b", opener=_without_following) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _without_following(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
