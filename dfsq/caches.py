"""Folders for what is compiled once and executed later: nobody else may put anything there."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from dfsq.errors import DfsqError


def private_folder(name: str) -> Path:
    """The folder ``dfsq/NAME`` in the user's cache, made where it is missing, with access for the user alone.

    Raises :class:`DfsqError` where it cannot be made, or belongs to somebody else.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    remedy = "set XDG_CACHE_HOME to a folder of yours"
    try:
        # A relative path is to be ignored, says the standard.
        folder = (Path(cache) if os.path.isabs(cache) else Path.home() / ".cache") / "dfsq" / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if sys.platform != "win32":
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                raise DfsqError(f"{folder} belongs to another user, or is a link; {remedy}")
            folder.chmod(0o700)
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        raise DfsqError(f"no folder for compiled code: {error}; {remedy}") from error
    return folder
