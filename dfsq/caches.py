"""Folders for what is compiled once and executed later: nobody else may put anything there."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from contextlib import suppress
from pathlib import Path

from dfsq.errors import DfsqError

if sys.platform != "win32":
    import grp
    import pwd

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_REMEDY = "set XDG_CACHE_HOME to a folder of yours"


def private_folder(name: str) -> Path:
    """The folder ``dfsq/NAME`` in the user's cache, made where it is missing, with access for the user alone.

    Where others could write into it, it is emptied. Raises :class:`DfsqError` where it cannot be made, belongs to
    somebody else, or lies where others could replace it.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # A relative path is to be ignored, says the standard.
        base = Path(cache) if os.path.isabs(cache) else Path.home() / ".cache"
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        base = base.resolve()  # what a link leads to, whoever changes the link later
        folder = base / "dfsq" / name
        for each in (folder.parent, folder):
            each.mkdir(mode=0o700, exist_ok=True)
        _check_above(base)
        _tighten(folder.parent, is_emptied=False)  # who could write there could put no folder of the user's there
        _tighten(folder, is_emptied=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        raise DfsqError(f"no folder for compiled code: {error}; {_REMEDY}") from error
    return folder


def is_untouched(path: Path) -> bool:
    """Whether ``path`` is a regular file of the user that nobody else can have written. Follows no link."""
    try:
        status = path.lstat()
    except OSError:
        return False
    if sys.platform == "win32":
        return stat.S_ISREG(status.st_mode)
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & _OTHERS


def _check_above(base: Path) -> None:
    """Raise :class:`DfsqError` where anybody but the user and root could replace ``base``, an absolute path."""
    if sys.platform == "win32":
        return
    for each in (base, *base.parents):
        status = each.stat()
        shared = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _is_private(status.st_gid))
        # In a sticky folder, as /tmp is, nobody can replace what belongs to another.
        if status.st_uid not in (0, os.getuid()) or (shared and not status.st_mode & stat.S_ISVTX):
            raise DfsqError(f"others can write into {each}; {_REMEDY}")


def _is_private(group: int) -> bool:
    """Whether ``group`` is root's, or the one of the user's own name that many systems make for everybody."""
    if sys.platform == "win32" or group == 0:
        return True
    with suppress(KeyError):
        user, found = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(group)
        return found.gr_name == user and set(found.gr_mem) <= {user}
    return False


def _tighten(folder: Path, *, is_emptied: bool) -> None:
    """Let only the user into ``folder``; ``is_emptied``: and remove what is there, if others could have put it there.

    Raises :class:`DfsqError` where it is not the user's.
    """
    if sys.platform == "win32":
        return
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise DfsqError(f"{folder} belongs to another user, or is a link; {_REMEDY}")
    if stat.S_IMODE(status.st_mode) != 0o700:
        folder.chmod(0o700)
    if is_emptied and status.st_mode & _OTHERS:
        shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
